"""What the documented APIs can be told, a section each."""

from __future__ import annotations

from pydantic import Field

from runner_service.config.base import Section


class Sct(Section):
    """The SCT façade."""

    max_output_bytes: int = Field(default=32 * 1024 * 1024, gt=0)
    """Shown of each stream in GET; the native log API shows all."""
