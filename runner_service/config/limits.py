"""How often things may be asked for, and where the service may go."""

from __future__ import annotations

from pydantic import Field, field_validator

from runner_service.config.base import Section
from runner_service.domain.webhooks import allowed_hosts


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


class Webhooks(Section):
    """Where the service may call out to."""

    allowed_hosts: tuple[str, ...] = ()
    """Hosts, `*.domains` and networks, each also with `:PORT`. Empty: anywhere but link-local addresses, and only while
    every listener is on loopback."""
    timeout_seconds: float = Field(default=3.0, gt=0)
    """For a whole call."""

    @field_validator("allowed_hosts")
    @classmethod
    def _can_be_read(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        allowed_hosts(value)
        return value
