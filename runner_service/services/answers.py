"""Requests that are repeated, because their answer was lost: they get it again, and nothing happens a second time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import NamedTuple

from runner_service.domain.errors import AlreadyExists, RunnerError
from runner_service.domain.requests import check_request_id
from runner_service.ports.clock import Clock
from runner_service.ports.store import AnswerKey, AnswerStore, Mark
from runner_service.services.sealing import Sealer

AT_ONCE = 1_000
"""Answers that are deleted in one transaction."""


class Kind(Enum):
    """What answers of an RPC are like."""

    PLAIN = auto()
    SECRET = auto()
    """They hold a credential, and are kept nowhere: whoever carries it out can tell it again by the mark."""
    LEAVING = auto()
    """They show what is gone then: when the answer was not kept, no more is said than that it was done."""


class Asked(NamedTuple):
    """A request with an id of its caller's making."""

    key: AnswerKey
    content: bytes
    """All of it but the id: what must be the same when it is repeated."""
    kind: Kind = Kind.PLAIN


class Answers:
    """Answers that were given. What has an effect each time, or is told no second time, writes the mark of its request
    in the transaction of its effect (`ports.store.answers`): so a server may die after any step, and two may be asked
    the same at one time."""

    def __init__(self, *, store: AnswerStore, sealer: Sealer, clock: Clock, keep_seconds: float) -> None:
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._keep_seconds = keep_seconds
        self._under_way: dict[AnswerKey, asyncio.Event] = {}

    async def once(self, asked: Asked, act: Callable[[Mark], Awaitable[bytes]]) -> bytes:
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
            mark = Mark(key, self._sealer.fingerprint(asked.content))
            if (known := await self._known(mark, asked.kind)) is not None:
                return known
            try:
                answer = await act(mark)
            except RunnerError:
                # Another server may have done it meanwhile, and nothing was left to do.
                if (known := await self._known(mark, asked.kind)) is not None:
                    return known
                raise
            if asked.kind is not Kind.SECRET:
                await self._store.keep(key, mark.fingerprint, answer)
            return answer
        finally:
            del self._under_way[key]
            over.set()

    async def _known(self, mark: Mark, kind: Kind) -> bytes | None:
        known = await self._store.find(mark.key)
        if known is None:
            return None
        if known.fingerprint != mark.fingerprint:
            raise AlreadyExists(request_id=mark.key.request_id)
        if known.answer is None and kind is Kind.LEAVING:
            return b""
        return known.answer

    async def sweep(self) -> None:
        """Deletes answers that are over their time."""
        before = self._clock.now() - int(self._keep_seconds * 1_000_000)
        while await self._store.drop(before=before, limit=AT_ONCE) == AT_ONCE:
            pass
