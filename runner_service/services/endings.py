"""Final states, handed straight to those who wait for them: what was just committed need not be read again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from runner_service.domain.jobs import Job


@dataclass(slots=True)
class Ending:
    """What one who waits is told: the job once it is terminal, as far as that became known here."""

    job: Job | None = None


class Endings:
    """Those who wait for the ends of jobs on this server. Tells only: to wake them is for signals, as it is to say that
    a job has ended elsewhere."""

    def __init__(self) -> None:
        self._expected: dict[str, list[Ending]] = {}

    @contextmanager
    def expect(self, job_id: str) -> Iterator[Ending]:
        """What is told while the context is open."""
        ending = Ending()
        self._expected.setdefault(job_id, []).append(ending)
        try:
            yield ending
        finally:
            expected = self._expected[job_id]
            expected.remove(ending)
            if not expected:
                del self._expected[job_id]

    def tell(self, job: Job) -> None:
        """A terminal job, as it was committed."""
        for ending in self._expected.get(job.job_id, ()):
            ending.job = job
