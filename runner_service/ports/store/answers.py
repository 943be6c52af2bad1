"""Answers to requests that bear an id."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from runner_service.domain.jobs import Micros


class AnswerKey(NamedTuple):
    """Which request."""

    caller: str
    """The name of the principal."""
    method: str
    request_id: str


class KeptAnswer(NamedTuple):
    """What a request was answered."""

    fingerprint: str
    """Of the request."""
    answer: bytes


class AnswerStore(Protocol):
    """Answers that were given, so that they can be given again."""

    async def find(self, key: AnswerKey) -> KeptAnswer | None:
        """The answer to a request; None: it was not answered."""
        ...

    async def keep(self, key: AnswerKey, fingerprint: str, answer: bytes) -> None:
        """Keeps an answer; the first that is kept stays."""
        ...

    async def drop(self, *, before: Micros, limit: int) -> int:
        """Deletes up to ``limit`` answers from before a time, oldest first, and returns how many."""
        ...
