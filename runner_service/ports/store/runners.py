"""Registered machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from runner_service.domain.runners import Runner


class RunnerStore(Protocol):
    """Registered machines."""

    async def register(self, runner: Runner) -> Runner:
        """Stores a runner, or replaces the one with this id; stamps ``registered_at`` when it is new."""
        ...

    async def get(self, runner_id: str) -> Runner:
        """Raises `RunnerNotFound`."""
        ...

    async def list(self, *, limit: int, after: str = "") -> Sequence[Runner]:
        """Runners in order of name, then id. ``after``: the id of the last runner of the page before."""
        ...
