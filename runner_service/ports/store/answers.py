"""Requests that bear an id: that they were carried out, and what they were answered.

A store function that takes a ``mark`` writes it in the transaction of its effect. Called again with the same mark, by
whatever server, it changes nothing and returns what there is now; two at one time are one after the other.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, Self

from runner_service.domain.jobs import Micros


class AnswerKey(NamedTuple):
    """Which request."""

    caller: str
    """The name of the principal."""
    method: str
    request_id: str


class Mark(NamedTuple):
    """Says of an effect which request had it. Of the same key with another fingerprint: `AlreadyExists`."""

    key: AnswerKey
    fingerprint: str

    def part(self, name: str) -> Self:
        """The mark of one effect of a request that has several."""
        return self._replace(key=self.key._replace(request_id=f"{self.key.request_id}/{name}"))


class KeptAnswer(NamedTuple):
    """What a request was answered."""

    fingerprint: str
    """Of the request."""
    answer: bytes | None
    """None: it was carried out, and its answer is not kept."""


class AnswerStore(Protocol):
    """Answers that were given, so that they can be given again."""

    async def find(self, key: AnswerKey) -> KeptAnswer | None:
        """What is known of a request; None: it was not carried out, or had nothing to mark, and was not answered."""
        ...

    async def begin(self, mark: Mark, note: str) -> str:
        """Says, before the first effect of a request that has several, what it is about; returns what was said of it
        first, by whatever server. Raises `AlreadyExists`."""
        ...

    async def keep(self, key: AnswerKey, fingerprint: str, answer: bytes) -> None:
        """Keeps an answer; the first that is kept stays."""
        ...

    async def drop(self, *, before: Micros, limit: int) -> int:
        """Forgets up to ``limit`` requests from before a time, oldest first, and returns how many."""
        ...
