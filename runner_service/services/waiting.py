"""Use case: why does a queued job wait?"""

from __future__ import annotations

from runner_service.domain.jobs import Job, JobState
from runner_service.domain.waiting import Place, Why, why_again, why_it_waits
from runner_service.ports.clock import Clock
from runner_service.ports.store import JobStore, RunnerStore

MOST_RUNNERS = 500
"""So many are looked at, which bounds what one question costs."""


class Waiting:
    """Explains queued jobs."""

    def __init__(self, *, jobs: JobStore, runners: RunnerStore, clock: Clock) -> None:
        self._jobs = jobs
        self._runners = runners
        self._clock = clock

    async def explain(self, job: Job) -> Why | None:
        """Says why a queued job waits; None for any other."""
        if job.state is not JobState.QUEUED:
            return None
        runners = await self._runners.list(limit=MOST_RUNNERS)
        tallies = await self._runners.tallies([runner.runner_id for runner in runners])
        places = [Place(runner=runner, active=tallies[runner.runner_id].active) for runner in runners]
        position = await self._jobs.position(job.job_id)
        why = why_it_waits(job, places, position=position, now=self._clock.now())
        if not job.attempts:
            return why
        attempts = await self._jobs.attempts(job.job_id)
        before = why_again(attempts[-1].outcome if attempts else None)
        return why._replace(sentence=f"{before}; {why.sentence}") if before else why
