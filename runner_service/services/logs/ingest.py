"""Takes the logs of attempts from workers: an acknowledgement follows the commit, never goes before it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import TypeGuard

from runner_service.domain.logs import LogRecord, LogSeal, LogStatus, encode_all
from runner_service.ports.signals import Signals, log_topic
from runner_service.ports.store import LogChunk, LogStore
from runner_service.services.logs.tails import LogTails

READ_AHEAD = 8
"""Batches that may wait for a commit: as many as a worker has under way."""


class LogIngest:
    """Appends and seals."""

    def __init__(self, *, store: LogStore, signals: Signals, tails: LogTails) -> None:
        self._store = store
        self._signals = signals
        self._tails = tails

    async def append(self, attempt_id: str, fence: int, records: Sequence[LogRecord], *, runner_id: str) -> LogStatus:
        """Commits records and returns how the log stands; see `LogStore.append`. Without records: only looks.

        Raises:
            StaleAttempt: The attempt is not the worker's any more.
            LogSealed: No record may follow.
        """
        first = records[0].sequence if records else 0
        chunk = LogChunk(first_sequence=first, records=len(records), journal=encode_all(records))
        status = await self._store.append(attempt_id, fence, chunk, runner_id=runner_id)
        if records:
            self._tails.push(attempt_id, chunk, status)
            self._signals.publish((log_topic(attempt_id),))
        return status

    async def append_all(
        self, attempt_id: str, fence: int, batches: AsyncIterator[Sequence[LogRecord]], *, runner_id: str
    ) -> AsyncIterator[LogStatus]:
        """Commits batches as they come and yields how the log stands after each commit. What arrives while one commit
        is under way goes into the next, as one: the disk is waited for once, and the order stays.

        Raises as `append`, and what ``batches`` raises.
        """
        arrived: asyncio.Queue[_Arrival] = asyncio.Queue(READ_AHEAD)
        reading = asyncio.create_task(_read_ahead(batches, arrived))
        waiting: deque[_Arrival] = deque()
        try:
            while True:
                batch = waiting.popleft() if waiting else await arrived.get()
                if batch is None:
                    return
                if isinstance(batch, Exception):
                    raise batch
                records = list(batch)
                while not (waiting or arrived.empty()):
                    more = arrived.get_nowait()
                    if _joins(more, records):
                        records += more
                    else:
                        waiting.append(more)
                yield await self.append(attempt_id, fence, records, runner_id=runner_id)
        finally:
            reading.cancel()

    async def seal(self, attempt_id: str, fence: int, seal: LogSeal, *, runner_id: str) -> LogStatus:
        """Seals a log when all of it is there; see `LogStore.seal`."""
        status = await self._store.seal(attempt_id, fence, seal, runner_id=runner_id)
        self._tails.settle(attempt_id)
        self._signals.publish((log_topic(attempt_id),))
        return status

    def followed(self, attempt_id: str) -> bool:
        """Tells whether somebody follows the log on this server now."""
        return self._signals.followed(log_topic(attempt_id))


_Arrival = Sequence[LogRecord] | Exception | None
"""A batch, what broke the stream of batches, or its end."""


async def _read_ahead(batches: AsyncIterator[Sequence[LogRecord]], arrived: asyncio.Queue[_Arrival]) -> None:
    try:
        async for batch in batches:
            await arrived.put(batch)
    except Exception as error:
        await arrived.put(error)
    else:
        await arrived.put(None)


def _joins(more: _Arrival, records: Sequence[LogRecord]) -> TypeGuard[Sequence[LogRecord]]:
    """An empty batch asks where the log stands; one with a hole before it is refused on its own."""
    if not records or not more or isinstance(more, Exception):
        return False
    return more[0].sequence == records[-1].sequence + 1
