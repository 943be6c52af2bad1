"""Logs by one cursor: history, live, retries and archive, without a gap or a duplicate."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from pathlib import Path

import pytest
from services_house import DONE, FAILED, SOON, House, Worker, parked

from runner_service.domain.errors import InvalidArgument, JobNotFound, LogMissing, StaleAttempt
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import Job, JobState
from runner_service.domain.logs import LogRecord, LogSeal, LogStream
from runner_service.services.logs import LogBatch, LogEnd, archive, read_output


def _seal(*texts: bytes, stderr: int = 0) -> LogSeal:
    data = b"".join(texts)
    return LogSeal(len(texts), len(data) - stderr, stderr, hashlib.sha256(data).digest())


async def _read(house: House, job: Job, **options: object) -> tuple[list[tuple[str, LogRecord]], list[str], LogEnd]:
    records, cursors, end = [], [], None
    async with asyncio.timeout(SOON):
        async for part in house.reader.read(job.job_id, **options):  # type: ignore[arg-type]
            assert end is None
            cursors.append(part.cursor)
            if isinstance(part, LogBatch):
                records += [(part.attempt_id, record) for record in part.records]
            else:
                end = part
    assert end is not None
    return records, cursors, end


def _data(records: list[tuple[str, LogRecord]]) -> bytes:
    return b"".join(record.data for _, record in records)


async def _started(house: House, **fields: object) -> tuple[Worker, Job, str]:
    worker, job = await house.worker(), await house.job(**fields)
    return worker, job, await worker.start()


async def test_history_then_live_then_an_end(house: House) -> None:
    worker, job, attempt_id = await _started(house)
    await worker.write(attempt_id, b"one", b"two")
    following = asyncio.create_task(_read(house, job, follow=True))
    assert await parked(following)
    await worker.write(attempt_id, b"three", first=2)
    await worker.write(attempt_id, b"two", b"three", b"four", first=1)  # sent again after a lost answer
    await worker.finish(attempt_id, seal=_seal(b"one", b"two", b"three", b"four"))
    records, _, end = await following
    assert _data(records) == b"onetwothreefour"
    assert [record.sequence for _, record in records] == [0, 1, 2, 3]
    assert end.complete
    assert end.job.state is JobState.SUCCEEDED


async def test_every_cursor_is_a_place_to_go_on_from(house: House) -> None:
    worker, job, attempt_id = await _started(house)
    for number in range(24):
        await worker.write(attempt_id, b"%d" % number * 30_000, first=number)
    await worker.finish(attempt_id)
    records, cursors, _ = await _read(house, job, follow=True)
    assert len(cursors) > 3
    for cursor in cursors:
        rest, _, _ = await _read(house, job, cursor=cursor, follow=True)
        assert rest == records[len(records) - len(rest) :]
        assert (cursor == cursors[-1]) <= (not rest)


async def test_following_goes_on_into_retries(house: House) -> None:
    worker, job = await house.worker(), await house.job(max_attempts=3)
    following = asyncio.create_task(_read(house, job, follow=True))
    for number in range(3):
        attempt_id = await worker.start()
        text = b"attempt %d" % number
        await worker.write(attempt_id, text)
        await worker.finish(attempt_id, FAILED if number < 2 else DONE, seal=_seal(text))
    records, cursors, end = await following
    assert _data(records) == b"attempt 0attempt 1attempt 2"
    assert len({attempt for attempt, _ in records}) == 3
    assert end.job.attempts == 3
    rest, _, _ = await _read(house, job, cursor=cursors[0], follow=True)
    assert _data(rest) == b"attempt 1attempt 2"


async def test_a_log_without_its_end_says_so(house: House) -> None:
    worker, job, attempt_id = await _started(house)
    await worker.write(attempt_id, b"half")
    following = asyncio.create_task(_read(house, job, follow=True))
    house.clock.advance(30 + 600 + 10)
    assert await house.store.dispatch.expire_leases(kill_budget_seconds=10) == [job.job_id]
    house.store.signals.publish([f"job/{job.job_id}"])
    records, _, end = await following
    assert _data(records) == b"half"
    assert end.job.state is JobState.LOST
    assert not end.complete


async def test_a_stale_fence_writes_nothing(house: House) -> None:
    worker, job, attempt_id = await _started(house)
    with pytest.raises(StaleAttempt):
        await house.ingest.append(
            attempt_id, 99, [LogRecord(0, 1, LogStream.STDOUT, b"x")], runner_id=worker.runner.runner_id
        )
    await worker.finish(attempt_id)
    records, _, _ = await _read(house, job)
    assert records == []


async def test_a_filter_passes_over_streams_but_never_over_gaps(house: House) -> None:
    worker, job, attempt_id = await _started(house)
    fence = worker.held[attempt_id][0]
    records = [
        LogRecord(0, 1, LogStream.STDOUT, b"out"),
        LogRecord(1, 2, LogStream.STDERR, b"err"),
        LogRecord(2, 3, LogStream.GAP, b"", 42),
        LogRecord(3, 4, LogStream.STDOUT, b"more"),
    ]
    await house.ingest.append(attempt_id, fence, records, runner_id=worker.runner.runner_id)
    await worker.finish(attempt_id)
    found, _, _ = await _read(house, job, streams=[LogStream.STDERR], follow=True)
    assert [(record.stream, record.data, record.gap_bytes) for _, record in found] == [
        (LogStream.STDERR, b"err", 0),
        (LogStream.GAP, b"", 42),
    ]


async def test_cursors_that_are_not_of_this_job_are_refused(house: House) -> None:
    worker, job, attempt_id = await _started(house)
    await worker.write(attempt_id, b"x")
    await worker.finish(attempt_id)
    _, cursors, _ = await _read(house, job)
    other = await house.job()
    for cursor in (cursors[0], "x", "a.b.c", "..", f"{attempt_id}.-1.0", f"{attempt_id}.0", "🙂.0.0"):
        if cursor != cursors[0]:
            with pytest.raises(InvalidArgument):
                await _read(house, job, cursor=cursor)
        with pytest.raises(InvalidArgument):
            await _read(house, other, cursor=cursor)
    with pytest.raises(JobNotFound):
        await _read(house, Job(**{**_fields(job), "job_id": "no-such-job"}))


def _fields(job: Job) -> dict[str, object]:
    return {name: getattr(job, name) for name in job.__dataclass_fields__}


async def test_a_follower_and_a_cursor_outlive_an_attempt_that_was_never_started(house: House) -> None:
    worker, job, _ = await _started(house)
    _, _, end = await _read(house, job)
    following = asyncio.create_task(_read(house, job, follow=True))
    assert await parked(following)
    worker.session_id, worker.number = new_id(), 0
    worker.held.clear()
    attempt_id = await worker.start()
    await worker.write(attempt_id, b"again")
    await worker.finish(attempt_id, seal=_seal(b"again"))
    for records, _, end_of in (await following, await _read(house, job, cursor=end.cursor, follow=True)):
        assert _data(records) == b"again"
        assert (end_of.job.state, end_of.job.attempts, end_of.complete) == (JobState.SUCCEEDED, 1, True)


async def test_the_cursor_of_a_job_that_has_no_attempt_yet_is_its_beginning(house: House) -> None:
    job, worker = await house.job(), await house.worker()
    page, cursor = await house.reader.page(job.job_id, cursor="", limit=5)
    assert page == []
    attempt_id = await worker.start()
    await worker.write(attempt_id, b"first")
    page, _ = await house.reader.page(job.job_id, cursor=cursor, limit=5)
    assert [record.data for record in page] == [b"first"]


async def test_an_archived_log_reads_as_before_by_the_same_cursors(house: House) -> None:
    dice = random.Random(5)
    worker, job, attempt_id = await _started(house)
    texts = [dice.randbytes(dice.choice([1, 1000, 65536])) for _ in range(120)]
    for first in range(0, len(texts), 3):
        await worker.write(attempt_id, *texts[first : first + 3], first=first)
    await worker.finish(attempt_id, seal=_seal(*texts))
    records, cursors, end = await _read(house, job, follow=True)
    assert await house.archiver.archive_some() == 1
    assert await house.archiver.archive_some() == 0
    assert not await house.store.logs.read(attempt_id, sequence=0, max_bytes=1)
    again, _, again_end = await _read(house, job, follow=True)
    assert again == records
    assert _data(again) == b"".join(texts)
    assert again_end.complete is end.complete is True
    for cursor in cursors:
        rest, _, _ = await _read(house, job, cursor=cursor)
        assert rest == records[len(records) - len(rest) :]
    await house.blobs.delete(f"logs/{attempt_id[-2:]}/{attempt_id}")  # As after a restore without blobs.
    with pytest.raises(LogMissing, match=attempt_id):
        await _read(house, job)


async def test_archiving_under_a_reader_loses_nothing(house: House) -> None:
    worker, job, attempt_id = await _started(house)
    texts = [b"%d" % (number % 10) * 60_000 for number in range(60)]
    for first in range(0, len(texts), 4):
        await worker.write(attempt_id, *texts[first : first + 4], first=first)
    await worker.finish(attempt_id, seal=_seal(*texts))
    found = b""
    async for part in house.reader.read(job.job_id, follow=True):
        if isinstance(part, LogBatch):
            found += b"".join(record.data for record in part.records)
            await house.archiver.archive_some()
    assert found == b"".join(texts)


async def test_pages_hold_what_was_asked_for_and_end(house: House) -> None:
    worker, job, attempt_id = await _started(house)
    texts = [b"%d" % number for number in range(7)]
    await worker.write(attempt_id, *texts)
    page, cursor = await house.reader.page(job.job_id, cursor="", limit=5)
    assert [record.data for record in page] == texts[:5]
    page, cursor = await house.reader.page(job.job_id, cursor=cursor, limit=5)
    assert [record.data for record in page] == texts[5:]
    assert cursor, "more may follow while it runs"
    assert await house.reader.page(job.job_id, cursor=cursor, limit=5) == ([], cursor)
    await worker.finish(attempt_id)
    assert await house.reader.page(job.job_id, cursor=cursor, limit=5) == ([], "")


async def test_a_page_is_bounded_in_bytes(house: House) -> None:
    worker, job, attempt_id = await _started(house)
    for number in range(40):
        await worker.write(attempt_id, bytes(60_000), first=number)
    page, cursor = await house.reader.page(job.job_id, cursor="", limit=1000)
    assert 1024 * 1024 <= sum(len(record.data) for record in page) < 1024 * 1024 + 65536
    rest, _ = await house.reader.page(job.job_id, cursor=cursor, limit=1000)
    assert rest[0].sequence == page[-1].sequence + 1


async def test_outputs_grow_and_show_head_and_tail_at_the_end(house: House) -> None:
    worker, job, attempt_id = await _started(house)
    limit, shown = 100_000, b""
    for number in range(60):
        stream = LogStream.STDOUT if number % 2 == 0 else LogStream.STDERR
        data = b"%02d" % number * 30_000
        await worker.write(attempt_id, data, first=number, stream=stream)
        if number % 10 == 0:
            output = await read_output(house.reader, await house.jobs.get(job.job_id), limit=limit)
            assert output.stdout.startswith(shown), "what is shown only grows"
            assert len(output.stdout) <= limit
            shown = output.stdout
    await worker.finish(attempt_id)
    output = await read_output(house.reader, await house.jobs.get(job.job_id), limit=limit)
    whole = b"".join(b"%02d" % number * 30_000 for number in range(0, 60, 2))
    head, _, rest = output.stdout.partition(b"\n[... ")
    missing, _, tail = rest.partition(b" bytes left out ...]\n")
    assert head == whole[:limit]
    assert whole.endswith(tail)
    assert len(head) + int(missing) + len(tail) == len(whole)


async def test_many_followers_see_the_same(house: House) -> None:
    worker, job, attempt_id = await _started(house)
    following = [asyncio.create_task(_read(house, job, follow=True)) for _ in range(20)]
    dice, texts = random.Random(7), []
    while len(texts) < 50:
        batch = [dice.randbytes(dice.randrange(1, 40_000)) for _ in range(dice.randrange(1, 4))]
        await worker.write(attempt_id, *batch, first=len(texts))
        texts += batch
    await worker.finish(attempt_id, seal=_seal(*texts))
    for records, _, end in await asyncio.gather(*following):
        assert _data(records) == b"".join(texts)
        assert end.complete


def test_small_frames_of_a_large_log_take_no_more_room_than_they_need() -> None:
    page = os.sysconf("SC_PAGE_SIZE")

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * page

    journal, before = bytes(archive.FRAME_BYTES), resident()
    frames = [archive.compressed(journal) for _ in range(200)]
    assert sum(map(len, frames)) < 100_000
    assert resident() - before < 50 * archive.FRAME_BYTES
