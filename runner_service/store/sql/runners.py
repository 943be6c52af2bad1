"""Registered machines, their feeds and metrics: each method hands one query function to the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runner_service.domain.errors import RunnerNotFound
from runner_service.domain.jobs import Job, Micros
from runner_service.domain.metrics import Bucket
from runner_service.domain.runner_feed import Counts, FeedLevel, FeedRun
from runner_service.domain.runner_health import HealthReport
from runner_service.domain.runners import Runner, RunnerEvent, RunnerProfile
from runner_service.ports.store import Mark
from runner_service.ports.store.runners import (
    Advance,
    RunnerChange,
    RunnerFilter,
    RunnerPage,
    Statistics,
    Tally,
)
from runner_service.store import (
    runner_control,
    runner_events,
    runner_feed,
    runner_lists,
    runners,
    samples,
    worker_credentials,
)
from runner_service.store.engine import Engine


class SqlRunners:
    """`RunnerStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def register_once(
        self,
        runner: Runner,
        profile: RunnerProfile,
        *,
        digest: bytes,
        life_seconds: float,
        mark: Mark | None,
        note: str,
    ) -> tuple[Runner, str]:
        return await self._engine.write(
            worker_credentials.register_once, runner, profile, digest, life_seconds, mark, note
        )

    async def get(self, runner_id: str) -> Runner:
        return await self._engine.read(runners.get, runner_id)

    async def profile(self, runner_id: str) -> RunnerProfile:
        found = await self._engine.read(runners.profiles, [runner_id])
        if runner_id not in found:
            raise RunnerNotFound(runner_id=runner_id)
        return found[runner_id]

    async def profiles(self, runner_ids: Sequence[str]) -> Mapping[str, RunnerProfile]:
        return await self._engine.read(runners.profiles, runner_ids)

    async def list(self, *, limit: int, after: str = "") -> Sequence[Runner]:
        return await self._engine.read(runners.list_runners, limit, after)

    async def find(self, filter: RunnerFilter, *, limit: int, offset: int = 0) -> RunnerPage:
        return await self._engine.read(runner_lists.find, filter, limit, offset)

    async def local(self) -> Runner | None:
        found = await self._engine.read(runners.local_runners)
        return found[0] if found else None

    async def change(
        self, runner_id: str, change: RunnerChange, *, mark: Mark | None = None
    ) -> tuple[Runner, RunnerProfile]:
        return await self._engine.write(runners.change, runner_id, change, mark)

    async def delete(self, runner_id: str, *, force: bool, by: str, mark: Mark | None = None) -> Sequence[Job]:
        return await self._engine.write(runner_control.drop, runner_id, force, by, mark)

    async def advance(self, *, silence_seconds: float) -> Advance:
        return await self._engine.write(runner_control.advance, silence_seconds)

    async def tallies(self, runner_ids: Sequence[str]) -> Mapping[str, Tally]:
        return await self._engine.read(runner_lists.tallies, runner_ids)

    async def statistics(self, runner_id: str, *, since: Micros = 0) -> Statistics:
        return await self._engine.read(runner_lists.statistics, runner_id, since)

    async def check(self, runner_id: str) -> tuple[int, HealthReport | None]:
        return await self._engine.read(runner_control.check, runner_id)

    async def save_check(self, runner_id: str, number: int, report: HealthReport) -> None:
        await self._engine.write(runner_control.save_check, runner_id, number, report)

    async def events(self, *, after: int, limit: int) -> Sequence[RunnerEvent]:
        return await self._engine.read(runner_events.events, after, limit)

    async def last_event(self) -> int:
        return await self._engine.read(runner_events.last_event)

    async def expire_events(self, *, before: Micros) -> None:
        await self._engine.write(runner_events.expire, before)

    async def events_named(self, sequences: Sequence[int]) -> Mapping[int, RunnerEvent]:
        return await self._engine.read(runner_events.events_named, sequences)


class SqlRunnerFeed:
    """`RunnerFeedStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def newest(
        self,
        runner_id: str,
        *,
        job_id: str = "",
        since: Micros,
        until: Micros,
        level: FeedLevel | None,
        below: int,
        limit: int,
    ) -> Sequence[FeedRun]:
        return await self._engine.read(runner_feed.newest, runner_id, job_id, since, until, level, below, limit)

    async def behind(self, runner_id: str, number: int, *, limit: int) -> Sequence[FeedRun]:
        return await self._engine.read(runner_feed.behind, runner_id, number, limit)

    async def totals(
        self, runner_id: str, *, job_id: str = "", since: Micros, until: Micros
    ) -> tuple[Counts, Sequence[FeedRun]]:
        return await self._engine.read(runner_feed.totals, runner_id, job_id, since, until)

    async def last(self, runner_id: str) -> int:
        return await self._engine.read(runner_feed.last, runner_id)

    async def open_attempts(self, runner_id: str) -> Sequence[tuple[str, str]]:
        return await self._engine.read(runner_feed.open_attempts, runner_id)


class SqlSamples:
    """`SampleStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def add(self, buckets: Sequence[Bucket]) -> None:
        if buckets:
            await self._engine.write(samples.add, buckets)

    async def read(self, runner_id: str, parts: Sequence[tuple[int, int, int]]) -> Sequence[Bucket]:
        return await self._engine.read(samples.read, runner_id, parts)

    async def expire(self, width: int, *, before: int) -> int:
        return await self._engine.write(samples.expire, width, before)
