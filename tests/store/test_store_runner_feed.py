"""Feeds of runners: what happened and what bound jobs wrote, numbered without holes and stored once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from store_house import BROKEN, MovingClock, Worker, chunk, create, make_worker, records, seal_of

from runner_service.domain.jobs import RUNNER_LABEL, Job
from runner_service.domain.logs import LogRecord, LogStream, encode_all
from runner_service.domain.runner_feed import FeedKind, FeedLevel, FeedRun, SplitState, Splitter, first_needed, lines_of
from runner_service.ports.store import LogChunk
from runner_service.store import SqlStore

ALL = 1 << 62


async def bound(store: SqlStore, worker: Worker, *steps: str) -> Job:
    worker.labels = {**worker.labels, RUNNER_LABEL: worker.runner_id}
    return await create(store, spec={"required_labels": {RUNNER_LABEL: worker.runner_id}})


async def feed(store: SqlStore, worker: Worker, number: int = 0) -> Sequence[FeedRun]:
    return await store.runner_feed.behind(worker.runner_id, number, limit=1000)


async def texts(store: SqlStore, run: FeedRun) -> list[str]:
    """The lines of a run, from nothing but what the store kept."""
    found: list[LogRecord] = []
    for piece in await store.logs.read(run.attempt_id, sequence=first_needed(run), max_bytes=1 << 20):
        found += decoded(piece)
    return [line.text for line in lines_of(run, found)]


def decoded(piece: LogChunk) -> list[LogRecord]:
    from runner_service.domain.logs import decode

    return [record for record, _ in decode(piece.journal)]


async def test_the_life_of_a_bound_job_is_in_its_runners_feed(store: SqlStore) -> None:
    worker = await make_worker(store)
    job = await bound(store, worker)
    attempt = await worker.start()
    await store.logs.append(
        attempt.attempt_id, attempt.fence, chunk(b"one\ntwo", b"2\nthree"), runner_id=attempt.runner_id
    )
    await worker.report(attempt, seal=seal_of(b"one\ntwo", b"2\nthree"))
    runs = await feed(store, worker)
    words = [(run.kind, run.word) for run in runs]
    assert words == [
        (FeedKind.RUNNER, ""),
        (FeedKind.EVENT, "created"),
        (FeedKind.EVENT, "running"),
        (FeedKind.OUTPUT, ""),
        (FeedKind.REST, ""),
        (FeedKind.EVENT, "SUCCEEDED"),
    ]
    assert [run.first for run in runs] == [1, 2, 3, 4, 6, 7]
    assert await texts(store, runs[3]) == ["one", "two2"]
    assert await texts(store, runs[4]) == ["three"]
    assert {run.job_id for run in runs[1:]} == {job.job_id}
    assert await store.runner_feed.last(worker.runner_id) == 7


async def test_a_line_is_told_apart_again_however_the_log_came_in(store: SqlStore) -> None:
    worker = await make_worker(store)
    await bound(store, worker)
    attempt = await worker.start()
    out, err = LogStream.STDOUT, LogStream.STDERR
    wrote = [(out, b"a"), (err, b"x\ny"), (out, b"b"), (err, b"z"), (out, b"c\nd"), (err, b"\n"), (out, b"e\n")]
    for number, (stream, data) in enumerate(wrote):
        await store.logs.append(
            attempt.attempt_id, attempt.fence, chunk(data, first=number, stream=stream), runner_id=attempt.runner_id
        )
    runs = [run for run in await feed(store, worker) if run.kind is FeedKind.OUTPUT]
    assert [await texts(store, run) for run in runs] == [["x"], ["abc"], ["yz"], ["de"]]
    assert [run.counts.error for run in runs] == [1, 0, 1, 0]


async def test_a_repeated_append_adds_nothing(store: SqlStore) -> None:
    worker = await make_worker(store)
    await bound(store, worker)
    attempt = await worker.start()
    for _ in range(2):
        await store.logs.append(attempt.attempt_id, attempt.fence, chunk(b"a\n", b"b\n"), runner_id=attempt.runner_id)
    await store.logs.append(
        attempt.attempt_id, attempt.fence, chunk(b"b\n", b"c\n", first=1), runner_id=attempt.runner_id
    )
    runs = [run for run in await feed(store, worker) if run.kind is FeedKind.OUTPUT]
    assert [await texts(store, run) for run in runs] == [["a", "b"], ["c"]]


async def test_jobs_that_are_bound_to_nobody_leave_no_trace_in_a_feed(store: SqlStore) -> None:
    worker = await make_worker(store)
    await create(store)
    attempt = await worker.start()
    await store.logs.append(attempt.attempt_id, attempt.fence, chunk(b"secret\n"), runner_id=attempt.runner_id)
    await worker.report(attempt, seal=seal_of(b"secret\n"))
    assert [run.kind for run in await feed(store, worker)] == [FeedKind.RUNNER]


async def test_reading_goes_on_within_a_run(store: SqlStore) -> None:
    worker = await make_worker(store)
    await bound(store, worker)
    attempt = await worker.start()
    await store.logs.append(attempt.attempt_id, attempt.fence, chunk(b"a\nb\nc\n"), runner_id=attempt.runner_id)
    (run,) = [run for run in await feed(store, worker) if run.kind is FeedKind.OUTPUT]
    assert (await feed(store, worker, run.first))[0] == run
    assert (await feed(store, worker, run.first + 1))[0] == run
    assert await feed(store, worker, run.first + 2) == []


async def test_totals_count_levels_in_a_time_and_name_the_runs_at_its_border(store: SqlStore) -> None:
    worker = await make_worker(store)
    await bound(store, worker)
    attempt = await worker.start()
    second = 1_000_000_000
    frames = [LogRecord(0, 5 * second, LogStream.STDOUT, b"a\n"), LogRecord(1, 9 * second, LogStream.STDERR, b"b\n")]
    piece = LogChunk(first_sequence=0, records=2, journal=encode_all(frames))
    await store.logs.append(attempt.attempt_id, attempt.fence, piece, runner_id=attempt.runner_id)
    counts, borders = await store.runner_feed.totals(worker.runner_id, since=0, until=ALL)
    assert (counts.info, counts.error, borders) == (3, 1, [])
    counts, borders = await store.runner_feed.totals(worker.runner_id, since=7_000_000, until=20_000_000)
    assert (counts.info, counts.error, len(borders)) == (1, 1, 1)
    found = await store.runner_feed.newest(
        worker.runner_id, since=0, until=20_000_000, level=FeedLevel.ERROR, below=ALL, limit=9
    )
    assert [run.kind for run in found] == [FeedKind.OUTPUT]


async def test_a_failure_and_a_retry_are_told(store: SqlStore) -> None:
    worker = await make_worker(store)
    worker.labels = {RUNNER_LABEL: worker.runner_id}
    await create(store, spec={"required_labels": {RUNNER_LABEL: worker.runner_id}, "max_attempts": 2})
    for _ in range(2):
        await worker.report(await worker.start(), BROKEN)
    words = [run.word for run in await feed(store, worker) if run.kind is FeedKind.EVENT]
    assert words == ["created", "running", "requeued", "running", "FAILED"]


async def test_what_is_over_its_time_leaves_the_feed_with_its_job(store: SqlStore, clock: MovingClock) -> None:
    worker = await make_worker(store)
    await bound(store, worker)
    await worker.report(await worker.start())
    clock.advance(10)
    assert (await store.jobs.expire(finished_before=clock.now(), limit=9)).jobs == 1
    assert [run.kind for run in await feed(store, worker)] == [FeedKind.RUNNER]
    assert await store.runner_feed.last(worker.runner_id) == 4


async def test_open_attempts_are_those_that_may_still_write(store: SqlStore) -> None:
    worker = await make_worker(store)
    await bound(store, worker)
    attempt = await worker.start()
    assert await store.runner_feed.open_attempts(worker.runner_id) == [(attempt.attempt_id, worker.runner_id)]
    await worker.report(attempt)
    assert await store.runner_feed.open_attempts(worker.runner_id) == []


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_splitting_in_pieces_gives_the_lines_of_the_whole(size: int) -> None:
    data = b"alpha\nbeta\r\n\ngamma\n" * 3 + b"end"
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    found = records(*pieces)
    whole = [line.text for record in records(data) for line in Splitter(SplitState()).take(record)]
    splitter = Splitter(SplitState())
    assert [line.text for record in found for line in splitter.take(record)] == whole
    # And again from the middle, from what is kept there alone.
    for middle in range(len(found)):
        before = Splitter(SplitState())
        done = [line.text for record in found[:middle] for line in before.take(record)]
        run = FeedRun(
            runner_id="", first=0, kind=FeedKind.OUTPUT, counts=None, first_at=0, last_at=0,  # type: ignore[arg-type]
            first_record=middle, records=len(found) - middle, before=before.state,
        )  # fmt: skip
        assert done + [line.text for line in lines_of(run, found[first_needed(run) :])] == whole


def test_steps_and_gaps_are_entries_of_their_own() -> None:
    splitter = Splitter(SplitState())
    step = LogRecord(0, 1, LogStream.STEP, b"2")
    gap = LogRecord(1, 2, LogStream.GAP, b"", 77)
    (marker,) = splitter.take(step)
    (said,) = splitter.take(gap)
    assert (marker.marker, marker.step, marker.level) == (True, 2, FeedLevel.DEBUG)
    assert (said.level, "77" in said.text, said.step) == (FeedLevel.WARN, True, 2)
