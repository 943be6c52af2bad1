"""The journals of attempts: each method hands one query function to the engine."""

from __future__ import annotations

from collections.abc import Sequence

from runner_service.domain.logs import LogSeal, LogStatus
from runner_service.ports.store import LogArchive, LogChunk
from runner_service.store import journal, logs
from runner_service.store.engine import Engine


class SqlLogs:
    """`LogStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def append(self, attempt_id: str, fence: int, chunk: LogChunk, *, runner_id: str) -> LogStatus:
        pieces = journal.pieces_of(chunk.first_sequence, chunk.records, chunk.journal)
        return await self._engine.write(logs.append, attempt_id, fence, pieces, runner_id)

    async def seal(self, attempt_id: str, fence: int, seal: LogSeal, *, runner_id: str) -> LogStatus:
        return await self._engine.write(logs.seal, attempt_id, fence, seal, runner_id)

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
