"""Time, passed in so that tests can move it."""

from __future__ import annotations

from typing import Protocol

from runner_service.domain.jobs import Micros


class Clock(Protocol):
    """The wall clock of this server."""

    def now(self) -> Micros:
        """The time now. May be called from any thread."""
        ...
