"""Wake-up calls within one process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class LocalWaiter:
    """One who waits; belongs to one task."""

    def __init__(self, longest: float | None) -> None:
        self._longest = longest
        self._called = False
        self._sleeper: asyncio.Future[None] | None = None

    def call(self) -> None:
        self._called = True
        self.wake()

    def wake(self) -> None:
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    async def wait(self, timeout: float) -> bool:
        if not self._called and timeout > 0:
            loop = asyncio.get_running_loop()
            self._sleeper = loop.create_future()
            timer = loop.call_later(timeout if self._longest is None else min(timeout, self._longest), self.wake)
            try:
                await self._sleeper
            finally:
                timer.cancel()
                self._sleeper = None
        called, self._called = self._called, False
        return called


class LocalSignals:
    """`Signals` among the tasks of one event loop: nothing is lost.

    ``poll_seconds`` caps every wait, for a store that other servers write to as well.
    """

    def __init__(self, *, poll_seconds: float | None = None) -> None:
        self._poll_seconds = poll_seconds
        self._waiters: dict[str, set[LocalWaiter]] = {}

    def publish(self, topics: Iterable[str]) -> None:
        for topic in topics:
            for waiter in self._waiters.get(topic, ()):
                waiter.call()

    @contextmanager
    def subscribe(self, *topics: str) -> Iterator[LocalWaiter]:
        waiter = LocalWaiter(self._poll_seconds)
        for topic in topics:
            self._waiters.setdefault(topic, set()).add(waiter)
        try:
            yield waiter
        finally:
            for topic in set(topics):
                waiters = self._waiters[topic]
                waiters.discard(waiter)
                if not waiters:
                    del self._waiters[topic]

    def followed(self, topic: str) -> bool:
        return topic in self._waiters

    def topics(self) -> list[str]:
        """Everything that somebody here waits for."""
        return list(self._waiters)
