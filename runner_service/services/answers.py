"""Requests that are repeated, because their answer was lost: they get it again, and nothing happens a second time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from runner_service.domain.errors import AlreadyExists
from runner_service.domain.requests import check_request_id
from runner_service.ports.clock import Clock
from runner_service.ports.store import AnswerKey, AnswerStore
from runner_service.services.sealing import Sealer, Unsealable

log = logging.getLogger(__name__)

AT_ONCE = 1_000
"""Answers that are deleted in one transaction."""


class Asked(NamedTuple):
    """A request with an id of its caller's making."""

    key: AnswerKey
    content: bytes
    """All of it but the id: what must be the same when it is repeated."""
    confidential: bool = False
    """The answer holds a credential, which the store must not be able to read."""


class Answers:
    """Answers that were given. Two calls of one request at the same time are one; of two servers each may carry it out
    once, as when a server dies between doing and noting: so what is asked must bear to be done again."""

    def __init__(self, *, store: AnswerStore, sealer: Sealer, clock: Clock, keep_seconds: float) -> None:
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._keep_seconds = keep_seconds
        self._under_way: dict[AnswerKey, asyncio.Event] = {}

    async def once(self, asked: Asked, act: Callable[[], Awaitable[bytes]]) -> bytes:
        """The answer that was given, or else what ``act`` returns; an error is no answer, and may be tried again.

        Raises:
            InvalidArgument: The id is too long.
            AlreadyExists: It was used for another request.
        """
        key = asked.key
        check_request_id(key.request_id)
        while (earlier := self._under_way.get(key)) is not None:
            await earlier.wait()
        over = self._under_way[key] = asyncio.Event()
        try:
            fingerprint = self._sealer.fingerprint(asked.content)
            known = await self._store.find(key)
            if known is not None:
                if known.fingerprint != fingerprint:
                    raise AlreadyExists(request_id=key.request_id)
                if (answer := self._opened(asked, known.answer)) is not None:
                    return answer
            answer = await act()
            kept = self._sealer.seal(_name_of(key), answer) if asked.confidential else answer
            await self._store.keep(key, fingerprint, kept)
            return answer
        finally:
            del self._under_way[key]
            over.set()

    def _opened(self, asked: Asked, answer: bytes) -> bytes | None:
        if not asked.confidential:
            return answer
        try:
            return self._sealer.open(_name_of(asked.key), answer)
        except Unsealable:
            log.error("an answer was sealed with another key", extra={"action": "answer_unreadable"})
            return None

    async def sweep(self) -> None:
        """Deletes answers that are over their time."""
        before = self._clock.now() - int(self._keep_seconds * 1_000_000)
        while await self._store.drop(before=before, limit=AT_ONCE) == AT_ONCE:
            pass


def _name_of(key: AnswerKey) -> str:
    return "\0".join(("answer", *key))
