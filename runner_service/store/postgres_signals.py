"""Wake-up calls between servers that share a PostgreSQL.

Within a server they are as direct as without it. To the others they go by NOTIFY, gathered for a moment: one call per
insert would halve what the database can do. They are hints; every waiter looks again after `POLL_SECONDS` anyway.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from runner_service.domain.ids import new_id
from runner_service.store.signals import LocalSignals

TICK_SECONDS = 0.075
"""For how long topics gather before they are sent."""
POLL_SECONDS = 1.5
"""The longest wait without a look."""
PAYLOAD_BYTES = 7_900
"""PostgreSQL refuses 8,000 and more."""
MANY = 500
"""Topics of one tick beyond which everyone is called instead: they look and go back to sleep."""
RETRY_SECONDS = 1.0

_log = logging.getLogger(__name__)


class PostgresSignals(LocalSignals):
    """`Signals` for several servers on one database."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(poll_seconds=POLL_SECONDS)
        self._options = options
        self._server = new_id()
        self._gathered: set[str] = set()
        self._something = asyncio.Event()
        self._connections = 0
        self.listening = asyncio.Event()
        """Calls of other servers arrive from now on."""

    def publish(self, topics: Iterable[str]) -> None:
        topics = list(topics)
        super().publish(topics)
        self._gathered.update(topics)
        self._something.set()

    async def send(self) -> None:
        """Sends what gathers, until cancelled."""
        async with await self._connect() as connection:
            while True:
                await self._something.wait()
                await asyncio.sleep(TICK_SECONDS)
                self._something.clear()
                gathered, self._gathered = self._gathered, set()
                for payload in payloads(self._server, gathered):
                    await connection.execute("SELECT pg_notify('runner', %s)", (payload,))

    async def listen(self) -> None:
        """Wakes those who wait here for what happened elsewhere, until cancelled."""
        async with await self._connect() as connection:
            await connection.execute("LISTEN runner")
            self.listening.set()
            async for notification in connection.notifies():
                server, *topics = notification.payload.split(" ")
                if server != self._server:
                    super().publish(topics or self.topics())

    async def mended(self, work: Callable[[], Awaitable[None]]) -> None:
        """Does ``work`` again whenever its connection breaks, until cancelled; each interruption is said once."""
        told = -1
        while True:
            try:
                await work()
            except psycopg.Error as error:
                if told != self._connections:
                    told = self._connections
                    _log.warning(
                        "Wake-up calls between servers are interrupted, waiters poll: %s",
                        str(error).partition("\n")[0],
                        extra={"action": "signals_interrupted"},
                    )
            await asyncio.sleep(RETRY_SECONDS * random.uniform(0.5, 1.5))

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        connection = await psycopg.AsyncConnection.connect(**self._options, autocommit=True)
        self._connections += 1
        return connection


def payloads(server: str, topics: Iterable[str]) -> list[str]:
    """Packs topics into as few calls as can carry them; one without topics means all."""
    names = sorted(topics)
    if len(names) > MANY:
        return [server]
    packed: list[str] = []
    for name in names:
        if packed and len(packed[-1]) + 1 + len(name) <= PAYLOAD_BYTES:
            packed[-1] += f" {name}"
        else:
            packed.append(f"{server} {name}")
    return packed


@asynccontextmanager
async def open_signals(options: Mapping[str, Any]) -> AsyncIterator[PostgresSignals]:
    """Connects to the other servers; what breaks is mended in the background, and until then waiters poll."""
    signals = PostgresSignals(options)
    tasks = [asyncio.create_task(signals.mended(work)) for work in (signals.listen, signals.send)]
    try:
        yield signals
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
