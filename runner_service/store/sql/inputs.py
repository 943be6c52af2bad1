"""The input of jobs: each method hands one query function to the engine."""

from __future__ import annotations

from collections.abc import Sequence

from runner_service.domain.inputs import InputRecord, InputStatus, PlacedInput
from runner_service.store import inputs
from runner_service.store.engine import Engine


class SqlInputs:
    """`InputStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def append(
        self, job_id: str, records: Sequence[InputRecord], *, at: int | None, writer: str = ""
    ) -> InputStatus:
        return await self._engine.write(inputs.append, job_id, records, at, writer)

    async def status(self, job_id: str, *, writer: str = "") -> InputStatus:
        return await self._engine.read(inputs.status, job_id, writer)

    async def read(self, attempt_id: str, fence: int, *, offset: int, limit: int) -> Sequence[PlacedInput]:
        return await self._engine.read(inputs.read, attempt_id, fence, offset, limit)

    async def advance(self, attempt_id: str, fence: int, written: int) -> InputStatus:
        return await self._engine.write(inputs.advance, attempt_id, fence, written)

    async def discard(self, job_id: str) -> None:
        await self._engine.write(inputs.discard, job_id)
