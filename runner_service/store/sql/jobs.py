"""Jobs, their attempts and their events: each method hands one query function to the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from runner_service.domain.ids import is_id
from runner_service.domain.jobs import Attempt, Job, JobEvent, JobState, Micros
from runner_service.ports.store import Expired, JobFilter, JobPage
from runner_service.store import events, jobs, listing, logs, retention
from runner_service.store.combiner import Combiner
from runner_service.store.engine import Engine

_SETTLE_TRIES = 40
_SETTLE_SECONDS = 0.005
"""Together 200 ms: how long a reader of events waits for transactions that are still on their way."""


class SqlJobs:
    """`JobStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.creates = Combiner(engine, jobs.create, limit=256)

    async def create(
        self, job: Job, *, fingerprint: str = "", queue_limit: int, patient: bool = False
    ) -> tuple[Job, bool]:
        return await self.creates.submit(jobs.NewJob(job, fingerprint, queue_limit), patient=patient)

    async def get(self, job_id: str) -> Job:
        return await self._engine.read(jobs.get, job_id)

    async def by_request(self, *, origin: str, created_by: str, request_id: str) -> Job:
        return await self._engine.read(jobs.by_request, (origin, created_by, request_id))

    async def list(self, filter: JobFilter, *, limit: int, offset: int = 0, after: str = "") -> JobPage:
        return await self._engine.read(listing.list_jobs, filter, limit, offset, after)

    async def cancel(self, job_id: str, *, by: str, reason: str) -> Job:
        return await self._engine.write(jobs.cancel, job_id, by, reason)

    async def attempts(self, job_id: str) -> Sequence[Attempt]:
        return await self._engine.read(jobs.attempts_of, job_id)

    async def attempt(self, attempt_id: str) -> Attempt:
        return await self._engine.read(jobs.attempt, attempt_id)

    async def count(self, origin: str | None = None) -> Mapping[JobState, int]:
        return await self._engine.read(jobs.count, origin)

    async def position(self, job_id: str) -> int:
        return await self._engine.read(jobs.position, job_id)

    async def events(self, *, after: int, limit: int, job_id: str | None = None) -> Sequence[JobEvent]:
        if job_id is not None and not is_id(job_id):
            return []
        for _ in range(_SETTLE_TRIES):
            found, everything = await self._engine.read(events.events, after, limit, job_id)
            if found or everything:
                return found
            await asyncio.sleep(_SETTLE_SECONDS)
        return []

    async def last_event(self) -> int:
        newest = 0
        for _ in range(_SETTLE_TRIES):
            newest, everything = await self._engine.read(events.last_event)
            if everything:
                break
            await asyncio.sleep(_SETTLE_SECONDS)
        return newest

    async def expire(self, *, finished_before: Micros, limit: int) -> Expired:
        job_ids, attempt_ids = await self._engine.read(retention.expirable, finished_before, limit)
        if not job_ids:
            return Expired(jobs=0, blob_keys=())
        # Terminal jobs never change again, so their logs can go first, piece by piece.
        while await self._engine.write(logs.drop_chunks, attempt_ids):
            pass
        keys = await self._engine.write(retention.drop_jobs, job_ids, attempt_ids)
        return Expired(jobs=len(job_ids), blob_keys=tuple(keys))
