"""The stream of batches from a worker: one commit for what has gathered, acknowledgements in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from runner_service.domain.errors import InvalidArgument, StaleAttempt
from runner_service.domain.logs import LogRecord, LogStatus, LogStream
from runner_service.ports.store import LogChunk
from runner_service.services.logs import LogIngest, LogTails
from runner_service.store.signals import LocalSignals


class SlowLog:
    """A log whose commits wait until the test lets them go."""

    def __init__(self) -> None:
        self.commits: list[LogChunk] = []
        self.let = asyncio.Semaphore(0)
        self.error: Exception | None = None

    async def append(self, attempt_id: str, fence: int, chunk: LogChunk, *, runner_id: str) -> LogStatus:
        self.commits.append(chunk)
        await self.let.acquire()
        if self.error is not None:
            raise self.error
        return LogStatus(attempt_id, next_sequence=chunk.first_sequence + chunk.records)


def batch(first: int, count: int) -> list[LogRecord]:
    return [LogRecord(first + number, 1, LogStream.STDOUT, b"x") for number in range(count)]


async def feed(*batches: Sequence[LogRecord] | Exception) -> AsyncIterator[Sequence[LogRecord]]:
    for each in batches:
        if isinstance(each, Exception):
            raise each
        yield each


async def collect(log: SlowLog, *batches: Sequence[LogRecord] | Exception) -> list[int]:
    ingest = LogIngest(store=log, signals=LocalSignals(), tails=LogTails())  # type: ignore[arg-type]
    return [status.next_sequence async for status in ingest.append_all("a", 1, feed(*batches), runner_id="r")]


async def test_what_arrives_during_a_commit_goes_into_the_next_as_one() -> None:
    log = SlowLog()
    acks = asyncio.create_task(collect(log, [], batch(0, 2), batch(2, 3), batch(5, 1)))
    log.let.release()  # The empty batch is answered on its own: the worker waits for it.
    log.let.release()
    assert await acks == [0, 6]
    assert [(chunk.first_sequence, chunk.records) for chunk in log.commits] == [(0, 0), (0, 6)]


async def test_a_batch_behind_a_hole_is_a_commit_of_its_own() -> None:
    log = SlowLog()
    for _ in range(9):
        log.let.release()
    assert await collect(log, batch(0, 1), batch(5, 1), batch(6, 1)) == [1, 7]


async def test_an_empty_stream_ends_quietly() -> None:
    assert await collect(SlowLog()) == []


@pytest.mark.parametrize("before", [0, 1], ids=["at once", "behind a batch"])
async def test_a_bad_batch_ends_the_stream_with_its_error_after_what_came_before(before: int) -> None:
    log = SlowLog()
    log.let.release()
    with pytest.raises(InvalidArgument):
        await collect(log, *[batch(0, 1)] * before, InvalidArgument(field="records", problem="no"))
    assert len(log.commits) == before


async def test_a_refused_commit_ends_the_stream() -> None:
    log = SlowLog()
    log.error = StaleAttempt(attempt_id="a", fence=1)
    log.let.release()
    with pytest.raises(StaleAttempt):
        await collect(log, batch(0, 1), batch(1, 1))
