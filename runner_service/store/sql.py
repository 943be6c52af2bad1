"""The store as its ports describe it: each method hands one query function to the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from runner_service.domain.dispatch import Assignment, Beat, Order, Report, Verdict, Want
from runner_service.domain.jobs import Attempt, Job, JobEvent, JobState, Micros
from runner_service.domain.logs import LogSeal, LogStatus
from runner_service.domain.runners import Runner
from runner_service.ports.signals import Signals
from runner_service.ports.store import Expired, JobFilter, JobPage, LogArchive, LogChunk
from runner_service.store import claims, dispatch, events, jobs, journal, listing, logs, reports, retention, runners
from runner_service.store.combiner import Combiner
from runner_service.store.engine import Engine
from runner_service.store.rows import is_id

_SETTLE_TRIES = 40
_SETTLE_SECONDS = 0.005
"""Together 200 ms: how long a reader of events waits for transactions that are still on their way."""


class SqlJobs:
    """`JobStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._creates = Combiner(engine, jobs.create, limit=256)

    async def create(self, job: Job, *, fingerprint: str = "", queue_limit: int) -> tuple[Job, bool]:
        return await self._creates.submit(jobs.NewJob(job, fingerprint, queue_limit))

    async def get(self, job_id: str) -> Job:
        return await self._engine.read(jobs.get, job_id)

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


class SqlRunners:
    """`RunnerStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def register(self, runner: Runner) -> Runner:
        return await self._engine.write(runners.register, runner)

    async def get(self, runner_id: str) -> Runner:
        return await self._engine.read(runners.get, runner_id)

    async def list(self, *, limit: int, after: str = "") -> Sequence[Runner]:
        return await self._engine.read(runners.list_runners, limit, after)


class SqlDispatch:
    """`DispatchStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._claims = Combiner(engine, claims.claim_all, limit=256)
        self._reports = Combiner(engine, reports.report_all, limit=64)

    async def beat(self, beat: Beat) -> tuple[Runner, Sequence[Order]]:
        return await self._engine.write(dispatch.beat, beat)

    async def claim(self, wants: Sequence[Want]) -> Sequence[Assignment]:
        return await self._claims.submit(wants) if wants else []

    async def release_unconfirmed(self, *, older_than_seconds: float) -> Sequence[str]:
        return await self._engine.write(dispatch.release_unconfirmed, older_than_seconds)

    async def report(self, reports: Sequence[Report]) -> Sequence[Verdict]:
        return await self._reports.submit(
            [(one, journal.pieces_of(one.first_sequence, one.records, one.journal)) for one in reports]
        )

    async def expire_leases(self, *, kill_budget_seconds: float) -> Sequence[str]:
        return await self._engine.write(dispatch.expire_leases, kill_budget_seconds)

    async def renew_leases(self, *, lease_seconds: float) -> None:
        await self._engine.write(dispatch.renew_leases, lease_seconds)


class SqlLogs:
    """`LogStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def append(self, attempt_id: str, fence: int, chunk: LogChunk) -> LogStatus:
        pieces = journal.pieces_of(chunk.first_sequence, chunk.records, chunk.journal)
        return await self._engine.write(logs.append, attempt_id, fence, pieces)

    async def seal(self, attempt_id: str, fence: int, seal: LogSeal) -> LogStatus:
        return await self._engine.write(logs.seal, attempt_id, fence, seal)

    async def status(self, attempt_id: str) -> LogStatus:
        return await self._engine.read(logs.status, attempt_id)

    async def read(self, attempt_id: str, *, sequence: int, max_bytes: int) -> Sequence[LogChunk]:
        return await self._engine.read(logs.read, attempt_id, sequence, max_bytes)

    async def archivable(self, *, limit: int) -> Sequence[str]:
        for attempt_id in await self._engine.read(logs.left_behind):
            await self._drop_rows(attempt_id)
        return await self._engine.read(logs.archivable, limit)

    async def archive(self, attempt_id: str, archive: LogArchive) -> None:
        await self._engine.write(logs.archive, attempt_id, archive)
        await self._drop_rows(attempt_id)

    async def archived(self, attempt_id: str) -> LogArchive | None:
        return await self._engine.read(logs.archived, attempt_id)

    async def _drop_rows(self, attempt_id: str) -> None:
        while await self._engine.write(logs.drop_chunks, [attempt_id]):
            pass
        await self._engine.write(logs.forget_rows, attempt_id)


class SqlStore:
    """`Store`, on either engine."""

    def __init__(self, engine: Engine, signals: Signals) -> None:
        self.engine = engine
        self.signals = signals
        self.shared = engine.shared
        self.jobs = SqlJobs(engine)
        self.runners = SqlRunners(engine)
        self.dispatch = SqlDispatch(engine)
        self.logs = SqlLogs(engine)
