"""How the service itself is."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from runner_service.domain.jobs import JobState, Micros
from runner_service.ports.clock import Clock
from runner_service.ports.store import JobStore

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """A look at the service."""

    now: Micros
    uptime_seconds: int
    running_jobs: int
    succeeded_jobs: int
    """Of those that are kept."""
    memory_bytes: int
    """Resident set of the server process."""


class Health:
    """Answers health pages."""

    def __init__(self, *, jobs: JobStore, clock: Clock, version: str) -> None:
        self._jobs = jobs
        self._clock = clock
        self._started = time.monotonic()
        self.version = version

    async def report(self) -> HealthReport:
        """Looks now; it fails when the store does not answer, which is what a health page is for."""
        counts = await self._jobs.count()
        return HealthReport(
            now=self._clock.now(),
            uptime_seconds=int(time.monotonic() - self._started),
            running_jobs=counts.get(JobState.RUNNING, 0),
            succeeded_jobs=counts.get(JobState.SUCCEEDED, 0),
            memory_bytes=_resident_bytes(),
        )


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
