"""The journals of attempts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from store_house import DONE, Opener, chunk, records, running, seal_of

from runner_service.domain.errors import AttemptNotFound, InvalidArgument, LogSealed, StaleAttempt
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import Attempt
from runner_service.domain.logs import MAX_CHUNK_BYTES, LogRecord, LogSeal, LogStatus, LogStream, encode_all
from runner_service.ports.store import LogArchive, LogChunk
from runner_service.store import SqlStore


async def journal(store: SqlStore, attempt: Attempt, sequence: int = 0) -> bytes:
    """Everything from ``sequence`` on, read in small portions."""
    found = b""
    while chunks := await store.logs.read(attempt.attempt_id, sequence=sequence, max_bytes=1):
        assert len(chunks) == 1
        found += chunks[0].journal
        sequence = chunks[0].first_sequence + chunks[0].records
    return found


async def test_appended_frames_come_back_byte_for_byte(store: SqlStore) -> None:
    _, _, attempt = await running(store)
    assert await store.logs.status(attempt.attempt_id) == LogStatus(attempt.attempt_id)
    assert list(await store.logs.read(attempt.attempt_id, sequence=0, max_bytes=100)) == []
    mixed = [
        LogRecord(0, 1, LogStream.STDOUT, bytes(range(256))),
        LogRecord(1, 2, LogStream.STDERR, b"err"),
        LogRecord(2, 3, LogStream.GAP, b"", 10_000),
        LogRecord(3, 4, LogStream.PTY, b"tty"),
        LogRecord(4, 5, LogStream.STDOUT, b""),
    ]
    whole = LogChunk(first_sequence=0, records=5, journal=encode_all(mixed))
    status = await store.logs.append(attempt.attempt_id, attempt.fence, whole, runner_id=attempt.runner_id)
    assert status == LogStatus(attempt.attempt_id, 5, 259, 3, False, True)
    assert await store.logs.status(attempt.attempt_id) == status
    assert list(await store.logs.read(attempt.attempt_id, sequence=3, max_bytes=1)) == [whole]


async def test_duplicates_are_dropped_and_what_is_new_behind_them_is_kept(store: SqlStore) -> None:
    _, _, attempt = await running(store)
    texts = [b"a", b"bb", b"ccc", b"dddd", b"eeeee"]
    parts = [(0, 2), (0, 2), (0, 1), (1, 4), (3, 4), (2, 5), (0, 5)]
    for start, end in parts:
        status = await store.logs.append(
            attempt.attempt_id, attempt.fence, chunk(*texts[start:end], first=start), runner_id=attempt.runner_id
        )
    assert status.next_sequence == 5
    assert status.stdout_bytes == 15
    assert await journal(store, attempt) == encode_all(records(*texts))


async def test_nothing_behind_a_gap_is_appended(store: SqlStore) -> None:
    _, _, attempt = await running(store)
    await store.logs.append(attempt.attempt_id, attempt.fence, chunk(b"a"), runner_id=attempt.runner_id)
    before = await store.logs.status(attempt.attempt_id)
    assert (
        await store.logs.append(attempt.attempt_id, attempt.fence, chunk(b"c", first=2), runner_id=attempt.runner_id)
        == before
    )
    assert await journal(store, attempt) == encode_all(records(b"a"))


@pytest.mark.parametrize(
    "damaged",
    [
        replace(chunk(b"a", b"b"), journal=chunk(b"a", b"b").journal[:-1]),
        replace(chunk(b"a", b"b"), journal=chunk(b"a", b"b").journal + b"\x01"),
        replace(chunk(b"a", b"b"), records=3),
        replace(chunk(b"a", b"b"), first_sequence=1),
        replace(chunk(b"a"), journal=b"\xff" * 24),
        LogChunk(first_sequence=0, records=2, journal=chunk(b"a").journal + chunk(b"b").journal),
    ],
    ids=["torn", "torn header", "too few", "other sequence", "absurd size", "sequence repeated"],
)
async def test_a_damaged_chunk_is_refused_whole(store: SqlStore, damaged: LogChunk) -> None:
    _, _, attempt = await running(store)
    with pytest.raises(InvalidArgument):
        await store.logs.append(attempt.attempt_id, attempt.fence, damaged, runner_id=attempt.runner_id)
    assert (await store.logs.status(attempt.attempt_id)).next_sequence == 0


async def test_a_large_chunk_is_cut_into_rows_at_frames(store: SqlStore) -> None:
    _, _, attempt = await running(store)
    texts = [bytes([number]) * 60_000 for number in range(12)]
    await store.logs.append(attempt.attempt_id, attempt.fence, chunk(*texts), runner_id=attempt.runner_id)
    chunks = await store.logs.read(attempt.attempt_id, sequence=0, max_bytes=1 << 30)
    assert len(chunks) == 3
    assert all(len(one.journal) <= MAX_CHUNK_BYTES for one in chunks)
    assert b"".join(one.journal for one in chunks) == encode_all(records(*texts))
    two = await store.logs.read(attempt.attempt_id, sequence=5, max_bytes=500_000)
    assert [one.first_sequence for one in two] == [4, 8]
    assert len(await store.logs.read(attempt.attempt_id, sequence=5, max_bytes=300_000)) == 1


async def test_only_the_attempts_own_fence_appends_and_seals(store: SqlStore) -> None:
    worker, _, attempt = await running(store)
    for attempt_id, fence in ((attempt.attempt_id, 99), (new_id(), 1), ("x", 1)):
        with pytest.raises(StaleAttempt):
            await store.logs.append(attempt_id, fence, chunk(b"a"), runner_id=attempt.runner_id)
        with pytest.raises(StaleAttempt):
            await store.logs.seal(attempt_id, fence, seal_of(), runner_id=attempt.runner_id)
    with pytest.raises(StaleAttempt):
        await store.logs.append(attempt.attempt_id, attempt.fence, chunk(b"a"), runner_id=new_id())
    with pytest.raises(StaleAttempt):
        await store.logs.seal(attempt.attempt_id, attempt.fence, seal_of(), runner_id=new_id())
    await worker.report(attempt, DONE)
    with pytest.raises(StaleAttempt):
        await store.logs.append(attempt.attempt_id, attempt.fence, chunk(b"a"), runner_id=attempt.runner_id)
    with pytest.raises(AttemptNotFound):
        await store.logs.status(new_id())
    assert list(await store.logs.read(new_id(), sequence=0, max_bytes=1)) == []


async def test_a_seal_holds_only_when_everything_is_there(store: SqlStore) -> None:
    _, _, attempt = await running(store)
    await store.logs.append(attempt.attempt_id, attempt.fence, chunk(b"a", b"b"), runner_id=attempt.runner_id)
    right = seal_of(b"a", b"b")
    for wrong in (
        seal_of(b"a"),
        seal_of(b"a", b"b", b"c"),
        right._replace(stdout_bytes=3),
        right._replace(stderr_bytes=1),
    ):
        assert not (await store.logs.seal(attempt.attempt_id, attempt.fence, wrong, runner_id=attempt.runner_id)).sealed
    for _ in range(2):
        status = await store.logs.seal(attempt.attempt_id, attempt.fence, right, runner_id=attempt.runner_id)
        assert (status.sealed, status.complete) == (True, True)
    assert (
        await store.logs.append(attempt.attempt_id, attempt.fence, chunk(b"a", b"b"), runner_id=attempt.runner_id)
    ) == status
    with pytest.raises(LogSealed):
        await store.logs.append(
            attempt.attempt_id, attempt.fence, chunk(b"b", b"c", first=1), runner_id=attempt.runner_id
        )


async def test_large_sealed_logs_are_archivable_oldest_first(store: SqlStore) -> None:
    texts = [b"x" * 60_000] * 6
    attempts = []
    for size in (6, 1, 6, 6):
        worker, _, attempt = await running(store)
        attempts.append(attempt)
        await store.logs.append(attempt.attempt_id, attempt.fence, chunk(*texts[:size]), runner_id=attempt.runner_id)
        if attempt is not attempts[0] or size == 6:
            await worker.report(attempt, seal=seal_of(*texts[:size]))
    _, _, open_one = await running(store)
    await store.logs.append(open_one.attempt_id, open_one.fence, chunk(*texts), runner_id=open_one.runner_id)
    expected = [attempts[number].attempt_id for number in (0, 2, 3)]
    assert list(await store.logs.archivable(limit=9)) == expected
    assert list(await store.logs.archivable(limit=1)) == expected[:1]
    assert await store.logs.archived(expected[0]) is None

    archive = LogArchive(blob_key="logs/aa/x", index=b"\x00\xff")
    for _ in range(2):
        await store.logs.archive(expected[0], archive)
    assert await store.logs.archived(expected[0]) == archive
    assert list(await store.logs.archivable(limit=9)) == expected[1:]
    assert list(await store.logs.read(expected[0], sequence=0, max_bytes=1)) == []
    status = await store.logs.status(expected[0])
    assert (status.next_sequence, status.stdout_bytes, status.sealed) == (6, 360_000, True)
    with pytest.raises(AttemptNotFound):
        await store.logs.archive(new_id(), archive)


async def test_rows_left_behind_by_a_crash_are_deleted_later(store: SqlStore) -> None:
    from runner_service.store import logs

    texts = [b"x" * 60_000] * 6
    worker, _, attempt = await running(store)
    await store.logs.append(attempt.attempt_id, attempt.fence, chunk(*texts), runner_id=attempt.runner_id)
    await worker.report(attempt, seal=seal_of(*texts))
    # The first transaction of an archival, and then the server dies.
    await store.engine.write(logs.archive, attempt.attempt_id, LogArchive(blob_key="logs/aa/x", index=b""))
    assert list(await store.logs.archivable(limit=9)) == []
    assert list(await store.logs.read(attempt.attempt_id, sequence=0, max_bytes=1)) == []


async def test_an_empty_log_is_sealed_by_an_empty_seal(store: SqlStore) -> None:
    _, _, attempt = await running(store)
    status = await store.logs.seal(
        attempt.attempt_id, attempt.fence, LogSeal(0, 0, 0, b"\x00" * 32), runner_id=attempt.runner_id
    )
    assert (status.sealed, status.complete, status.next_sequence) == (True, True, 0)


async def test_everything_is_there_after_a_restart(reopen: Opener) -> None:
    async with reopen() as store:
        worker, job, attempt = await running(store, tags={"a": "b"}, request_id="r")
        await store.logs.append(attempt.attempt_id, attempt.fence, chunk(b"a"), runner_id=attempt.runner_id)
        events = list(await store.jobs.events(after=0, limit=99))
        runner = await store.runners.get(worker.runner_id)
    async with reopen() as store:
        assert await store.jobs.get(job.job_id) == job
        assert await store.jobs.attempt(attempt.attempt_id) == attempt
        assert await journal(store, attempt) == encode_all(records(b"a"))
        assert list(await store.jobs.events(after=0, limit=99)) == events
        assert await store.runners.get(worker.runner_id) == runner
        worker.store = store
        await store.logs.append(attempt.attempt_id, attempt.fence, chunk(b"b", first=1), runner_id=attempt.runner_id)
        assert (await worker.report(attempt, seal=seal_of(b"a", b"b"))).value == "ACCEPTED"
