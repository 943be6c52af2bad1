"""Answers: each method hands one query function to the engine."""

from __future__ import annotations

from runner_service.domain.jobs import Micros
from runner_service.ports.store import AnswerKey, KeptAnswer, Mark
from runner_service.store import answers
from runner_service.store.engine import Engine


class SqlAnswers:
    """`AnswerStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def find(self, key: AnswerKey) -> KeptAnswer | None:
        return await self._engine.read(answers.find, key)

    async def begin(self, mark: Mark, note: str) -> str:
        return await self._engine.write(answers.begin, mark, note)

    async def keep(self, key: AnswerKey, fingerprint: str, answer: bytes) -> None:
        await self._engine.write(answers.keep, key, fingerprint, answer)

    async def drop(self, *, before: Micros, limit: int) -> int:
        return await self._engine.write(answers.drop, before, limit)
