"""Registered machines: each method hands one query function to the engine."""

from __future__ import annotations

from collections.abc import Sequence

from runner_service.domain.runners import Runner
from runner_service.store import runners
from runner_service.store.engine import Engine


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
