"""Jobs of lab queues: each method hands one query function to the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runner_service.domain.queues import Attachments, Found, NewQueueJob, PopRequest, QueueJob, Search
from runner_service.ports.store import Mark
from runner_service.store import queue_listing, queue_results, queues
from runner_service.store.combiner import Combiner
from runner_service.store.engine import Engine


class SqlQueues:
    """`QueueStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pushes = Combiner(engine, queues.push_all, limit=256)
        self._pops = Combiner(engine, queues.pop_all, limit=64)

    async def push(self, new: NewQueueJob, *, queue_limit: int) -> tuple[QueueJob, bool]:
        return await self._pushes.submit(queues.Push(new, queue_limit))

    async def get(self, job_id: str) -> QueueJob:
        return await self._engine.read(queues.get, job_id)

    async def pop(self, wanted: PopRequest) -> QueueJob | None:
        return await self._pops.submit(wanted)

    async def renew(
        self, job_id: str, *, agent: str | None, lease_seconds: float | None = None, mark: Mark | None = None
    ) -> None:
        await self._engine.write(queues.renew, job_id, agent, lease_seconds, mark)

    async def renew_all(self) -> None:
        await self._engine.write(queues.renew_all)

    async def post_result(
        self, job_id: str, members: Mapping[str, str], *, word: str | None, mark: Mark | None = None
    ) -> QueueJob | None:
        return await self._engine.write(queue_results.post_result, job_id, members, word, mark)

    async def results(self, job_id: str) -> Mapping[str, str]:
        return await self._engine.read(queue_results.results, job_id)

    async def set_attachments(self, job_id: str, state: Attachments) -> None:
        await self._engine.write(queues.set_attachments, job_id, state)

    async def position(self, job_id: str) -> int:
        return await self._engine.read(queue_listing.position, job_id)

    async def search(self, search: Search) -> Sequence[Found]:
        return await self._engine.read(queue_listing.search, search)

    async def counts(self) -> Mapping[str, tuple[int, int]]:
        return await self._engine.read(queue_listing.counts)

    async def waits(self, queues: Sequence[str], *, limit: int) -> Mapping[str, Sequence[float]]:
        return await self._engine.read(queue_listing.waits, queues, limit)

    async def expire(self, *, requeue: bool) -> Sequence[QueueJob]:
        return await self._engine.write(queues.expire, requeue)
