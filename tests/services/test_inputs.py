"""Input between who gives it and the worker: waiting for room, waiting for more, and the ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from services_house import SOON, House, Worker, open_house, parked
from store_house import MovingClock

from runner_service.domain import inputs
from runner_service.domain.errors import JobFinished, StaleAttempt
from runner_service.domain.inputs import WINDOW, InputKind
from runner_service.domain.jobs import Stdin
from runner_service.store import open_store


class Reader:
    """The worker's end of an input stream."""

    def __init__(self, house: House, worker: Worker, attempt_id: str, *, fence: int = 1, offset: int = 0) -> None:
        self.data = b""
        self.kinds: list[InputKind] = []
        self.read = offset
        self.news = asyncio.Event()
        self._written: asyncio.Queue[int | None] = asyncio.Queue()
        feed = house.inputs.feed(worker.runner.runner_id, attempt_id, fence, offset, self._places())
        self.task = asyncio.create_task(self._read(feed))

    async def until(self, data: bytes) -> None:
        async with asyncio.timeout(SOON):
            while self.data != data:
                self.news.clear()
                await self.news.wait()

    def wrote(self, place: int | None) -> None:
        self._written.put_nowait(place)

    async def _places(self) -> AsyncIterator[int]:
        while (place := await self._written.get()) is not None:
            yield place

    async def _read(self, feed: AsyncIterator[object]) -> None:
        async for records in feed:
            for one in records:  # type: ignore[attr-defined]
                assert one.offset == self.read
                self.read = one.behind
                self.kinds.append(one.record.kind)
                self.data += one.record.payload if one.record.kind is InputKind.DATA else b""
            self.news.set()


async def running(house: House) -> tuple[str, Worker, str]:
    worker = await house.worker()
    job = await house.job(stdin=Stdin.PIPE)
    return job.job_id, worker, await worker.start()


async def test_input_reaches_the_worker_as_it_is_given(house: House) -> None:
    job_id, worker, attempt_id = await running(house)
    await house.inputs.append(job_id, b"early ")
    reader = Reader(house, worker, attempt_id)
    await reader.until(b"early ")
    await house.inputs.append(job_id, b"late", at=6)
    await reader.until(b"early late")
    assert (await house.inputs.end(job_id)).ended
    reader.wrote(None)
    await asyncio.wait_for(reader.task, SOON)


async def test_who_gives_too_much_waits_until_the_processes_have_read(house: House) -> None:
    job_id, worker, attempt_id = await running(house)
    reader = Reader(house, worker, attempt_id)
    giving = asyncio.create_task(house.inputs.append(job_id, bytes(WINDOW + 100), at=0))
    await reader.until(bytes(WINDOW))
    assert await parked(giving)
    reader.wrote(60)
    await reader.until(bytes(WINDOW + 60))
    assert await parked(giving)
    reader.wrote(WINDOW)
    assert (await asyncio.wait_for(giving, SOON)).next_offset == WINDOW + 100
    await reader.until(bytes(WINDOW + 100))
    reader.task.cancel()


async def test_a_signal_passes_what_waits(house: House) -> None:
    job_id, worker, attempt_id = await running(house)
    reader = Reader(house, worker, attempt_id)
    giving = asyncio.create_task(house.inputs.append(job_id, bytes(WINDOW + 1), at=None))
    await reader.until(bytes(WINDOW))
    await house.inputs.put(job_id, [inputs.signal(2)])
    async with asyncio.timeout(SOON):
        while InputKind.SIGNAL not in reader.kinds:
            reader.news.clear()
            await reader.news.wait()
    giving.cancel()
    reader.task.cancel()


async def test_the_end_of_the_job_ends_both_sides_and_deletes_what_nobody_read(house: House) -> None:
    job_id, worker, attempt_id = await running(house)
    reader = Reader(house, worker, attempt_id)
    giving = asyncio.create_task(house.inputs.append(job_id, bytes(WINDOW + 1), at=0))
    await reader.until(bytes(WINDOW))
    await worker.finish(attempt_id)
    with pytest.raises(JobFinished):
        await asyncio.wait_for(giving, SOON)
    with pytest.raises(StaleAttempt):
        await asyncio.wait_for(reader.task, SOON)
    again = Reader(house, worker, attempt_id)
    with pytest.raises(StaleAttempt):
        await asyncio.wait_for(again.task, SOON)


@pytest.mark.parametrize("fence", [0, 2])
async def test_another_fence_gets_nothing(house: House, fence: int) -> None:
    job_id, worker, attempt_id = await running(house)
    await house.inputs.append(job_id, b"secret")
    reader = Reader(house, worker, attempt_id, fence=fence)
    with pytest.raises(StaleAttempt):
        await asyncio.wait_for(reader.task, SOON)
    assert reader.data == b""
    for other in (Reader(house, worker, "unknown"), Reader(house, await house.worker(), attempt_id)):
        with pytest.raises(StaleAttempt):
            await asyncio.wait_for(other.task, SOON)
        assert other.data == b""


async def test_what_one_server_is_given_another_brings_to_the_worker(
    postgres_url: str, clock: MovingClock, tmp_path: Path
) -> None:
    async with (
        open_store(postgres_url, clock=clock) as here,
        open_store(postgres_url, clock=clock) as there,
        open_house(here, clock, tmp_path / "here") as asked,
        open_house(there, clock, tmp_path / "there") as at,
    ):
        job_id, worker, attempt_id = await running(at)
        reader = Reader(at, worker, attempt_id)
        await asked.inputs.append(job_id, b"hello")
        await reader.until(b"hello")
        # And back: who waits here for room hears of what was written there.
        giving = asyncio.create_task(asked.inputs.append(job_id, bytes(WINDOW)))
        await reader.until(b"hello" + bytes(WINDOW - 5))
        assert await parked(giving)
        reader.wrote(WINDOW)
        assert (await asyncio.wait_for(giving, SOON)).next_offset == WINDOW + 5
        reader.task.cancel()
