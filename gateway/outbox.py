"""What waits for a client of a WebSocket: frames in order, up to a bound."""

from __future__ import annotations

import asyncio
from collections import deque

from google.rpc import code_pb2

from gateway.errors import Failure


class Outbox:
    """A bounded queue of frames between a servicer and the one task that sends them."""

    def __init__(self, *, limit: int, patience: float | None) -> None:
        """``limit`` bytes may wait, and ``patience`` seconds a full queue; None: the servicer waits for ever."""
        self._limit = limit
        self._patience = patience
        self._frames: deque[str] = deque()
        self._size = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._ended = False

    async def put(self, frame: str) -> None:
        """Adds a frame; returns when there is room for the next. Raises ``Failure`` when patience ends."""
        self._frames.append(frame)
        self._size += len(frame)
        self._news.set()
        if self._size < self._limit:
            return
        self._room.clear()
        try:
            async with asyncio.timeout(self._patience):
                await self._room.wait()
        except TimeoutError:
            self._frames.clear()
            raise Failure(
                code_pb2.RESOURCE_EXHAUSTED, "the client reads too slowly", "SLOW_READER", "gateway"
            ) from None

    def end(self) -> None:
        """No more frames will come."""
        self._ended = True
        self._news.set()

    async def next(self) -> str | None:
        """The next frame; None after the last."""
        while not self._frames:
            if self._ended:
                return None
            self._news.clear()
            await self._news.wait()
        frame = self._frames.popleft()
        self._size -= len(frame)
        if self._size < self._limit:
            self._room.set()
        return frame
