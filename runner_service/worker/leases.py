"""The lease, counted on this machine's own clock, and what follows from it: the self-stop deadlines.

A deadline is handed to the executor, which keeps it even when this worker dies. It may be late in hearing that a
deadline has moved on, never that it has moved nearer: what it holds is always a time at which the job must be dead
anyway.
"""

from __future__ import annotations

from collections.abc import Collection

from runner_service.worker.attempts import Held
from runner_service.worker.executors.base import Executor


class Leases:
    """Keeps the executor's deadlines up with the server's replies."""

    def __init__(self, executor: Executor, *, step: float) -> None:
        self._executor = executor
        self._step = step
        self.lease_end = float("-inf")
        """On the monotonic clock; before the first reply: long ago."""
        self._told_end = float("-inf")
        self._told_stop = float("inf")
        """The self-stop that holds for all attempts but those in `_longer`."""
        self._longer: dict[str, float] = {}

    async def renew(self, lease_end: float, live: Collection[Held]) -> None:
        """A reply has come: the lease ends at ``lease_end``. ``live`` are the attempts that run or are about to."""
        self.lease_end = lease_end
        if not live:
            return  # What starts later comes through here first.
        shortest = min(held.self_stop for held in live)
        if shortest < self._told_stop or lease_end < self._told_end or lease_end - self._told_end >= self._step:
            self._told_end, self._told_stop = lease_end, shortest
            self._longer = {}
            await self._executor.set_deadline(lease_end + shortest)
        for held in live:
            if not held.starting:
                await self.cover(held)

    async def cover(self, held: Held) -> None:
        """Sees to it that an attempt which the executor has accepted holds its own deadline."""
        if held.self_stop > self._told_stop and self._longer.get(held.attempt_id) != held.self_stop:
            self._longer[held.attempt_id] = held.self_stop
            await self._executor.set_deadline(self._told_end + held.self_stop, held.attempt_id)
