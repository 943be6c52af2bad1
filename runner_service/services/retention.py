"""Lets old jobs go, with their logs."""

from __future__ import annotations

import asyncio
import logging

from runner_service.ports.blobs import Blobs
from runner_service.ports.clock import Clock
from runner_service.ports.store import JobStore

log = logging.getLogger(__name__)

AT_ONCE = 200
"""Jobs in one transaction, so that nobody waits long for the store."""


class Retention:
    """Deletes terminal jobs after a time."""

    def __init__(
        self, *, jobs: JobStore, blobs: Blobs, clock: Clock, keep_seconds: float, sweep_seconds: float
    ) -> None:
        self._jobs = jobs
        self._blobs = blobs
        self._clock = clock
        self._keep_seconds = keep_seconds
        self._sweep_seconds = sweep_seconds

    async def run(self) -> None:
        """Sweeps for ever; what fails is logged and tried again."""
        while True:
            await asyncio.sleep(self._sweep_seconds)
            try:
                await self.sweep()
            except Exception:
                log.exception("cannot delete old jobs, trying again", extra={"action": "retention_failed"})

    async def sweep(self) -> None:
        """Deletes everything that is over its time."""
        before = self._clock.now() - int(self._keep_seconds * 1_000_000)
        while True:
            expired = await self._jobs.expire(finished_before=before, limit=AT_ONCE)
            for key in expired.blob_keys:
                await self._blobs.delete(key)
            if expired.jobs < AT_ONCE:
                return
