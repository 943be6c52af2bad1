"""How often things may be asked for."""

from __future__ import annotations

from pydantic import Field

from runner_service.config.base import Section


class RateLimits(Section):
    """Requests per minute; 0: no limit. The defaults are those that RustCI documents."""

    registration: int = Field(default=10, ge=0)
    """Registrations of runners, per address."""
    status: int = Field(default=100, ge=0)
    """Looks at status and health, together, per runner."""
    submission: int = Field(default=50, ge=0)
    """Jobs, per runner."""
    bulk: int = Field(default=5, ge=0)
    """Operations on many runners, per user."""
