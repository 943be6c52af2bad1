"""`InputStore`: places, bounds, and what becomes of input when its attempt ends."""

from __future__ import annotations

import pytest
from store_house import DONE, PLENTY, Opener, create, make_job, running

from runner_service.domain import inputs
from runner_service.domain.errors import (
    InputEnded,
    InputFull,
    InputNotTaken,
    InvalidArgument,
    JobFinished,
    JobNotFound,
    StaleAttempt,
)
from runner_service.domain.inputs import KNOWN_WRITERS, SLACK, WINDOW, InputKind, PlacedInput
from runner_service.domain.jobs import Stdin
from runner_service.store import SqlStore

PIPE = {"stdin": Stdin.PIPE}


def bytes_of(records: object) -> bytes:
    assert isinstance(records, list)
    return b"".join(one.record.payload for one in records if one.record.kind is InputKind.DATA)


async def test_input_is_kept_in_order_whatever_its_kind(reopen: Opener) -> None:
    records = [*inputs.data(b"hello"), inputs.resize(50, 132), inputs.signal(2), *inputs.data(b"!"), inputs.END]
    async with reopen() as store:
        _, job, attempt = await running(store, spec=PIPE)
        status = await store.inputs.append(job.job_id, records, at=None)
        assert (status.next_offset, status.written_offset, status.ended, status.taken) == (9, 0, True, 9)
        found = await store.inputs.read(attempt.attempt_id, attempt.fence, offset=0, limit=10)
    assert [one.record for one in found] == records
    assert [one.offset for one in found] == [0, 5, 6, 7, 8]
    assert (found[1].record.terminal_size, found[2].record.signal) == ((50, 132), 2)
    async with reopen() as store:
        assert (await store.inputs.status(job.job_id)).next_offset == 9


async def test_a_place_is_used_once(store: SqlStore) -> None:
    _, job, attempt = await running(store, spec=PIPE)
    await store.inputs.append(job.job_id, inputs.data(b"abc"), at=0)
    assert (await store.inputs.append(job.job_id, inputs.data(b"abc"), at=0)).next_offset == 3
    status = await store.inputs.append(job.job_id, inputs.data(b"abcdef"), at=0)
    assert (status.next_offset, status.taken) == (6, 6)
    with pytest.raises(InvalidArgument, match="goes on at 6"):
        await store.inputs.append(job.job_id, inputs.data(b"x"), at=7)
    assert bytes_of(await store.inputs.read(attempt.attempt_id, attempt.fence, offset=0, limit=9)) == b"abcdef"


@pytest.mark.parametrize(("offset", "rest"), [(0, b"abcdef"), (2, b"cdef"), (3, b"def"), (5, b"f"), (6, b""), (9, b"")])
async def test_reading_begins_at_any_place(store: SqlStore, offset: int, rest: bytes) -> None:
    _, job, attempt = await running(store, spec=PIPE)
    await store.inputs.append(job.job_id, inputs.data(b"abc"), at=None)
    await store.inputs.append(job.job_id, inputs.data(b"def"), at=None)
    found = await store.inputs.read(attempt.attempt_id, attempt.fence, offset=offset, limit=9)
    assert bytes_of(found) == rest
    assert not found or found[0].offset == offset


async def test_data_waits_at_the_limit_and_a_signal_does_not(store: SqlStore) -> None:
    _, job, attempt = await running(store, spec=PIPE)
    status = await store.inputs.append(job.job_id, inputs.data(bytes(WINDOW + 10)), at=0)
    assert (status.taken, status.next_offset, status.limit_offset) == (WINDOW, WINDOW, WINDOW)
    assert (await store.inputs.append(job.job_id, inputs.data(b"x"), at=None)).taken == 0
    for _ in range(3):
        assert (await store.inputs.append(job.job_id, [inputs.signal(2)], at=None)).taken == 1
    full = await store.inputs.append(job.job_id, [inputs.signal(2)] * SLACK, at=None)
    assert full.taken == SLACK - 3
    status = await store.inputs.advance(attempt.attempt_id, attempt.fence, 100)
    assert status.limit_offset == WINDOW + 100
    assert (await store.inputs.append(job.job_id, inputs.data(b"x"), at=None)).taken == 0
    await store.inputs.advance(attempt.attempt_id, attempt.fence, full.next_offset)
    assert (await store.inputs.append(job.job_id, inputs.data(b"x"), at=None)).taken == 1


async def test_what_was_written_is_deleted_and_does_not_come_again(store: SqlStore) -> None:
    _, job, attempt = await running(store, spec=PIPE)
    await store.inputs.append(job.job_id, inputs.data(b"abc"), at=None)
    await store.inputs.append(job.job_id, inputs.data(b"def"), at=None)
    await store.inputs.advance(attempt.attempt_id, attempt.fence, 4)
    assert (await store.inputs.advance(attempt.attempt_id, attempt.fence, 2)).written_offset == 4
    assert await store.inputs.read(attempt.attempt_id, attempt.fence, offset=0, limit=9) == [
        PlacedInput(3, inputs.data(b"def")[0])
    ]


async def test_the_next_attempt_reads_it_all_again_but_not_the_signals(store: SqlStore) -> None:
    worker, job, attempt = await running(store, spec=PIPE | {"max_attempts": 2})
    await store.inputs.append(job.job_id, [*inputs.data(b"abc"), inputs.signal(15), inputs.END], at=None)
    await store.inputs.advance(attempt.attempt_id, attempt.fence, 5)
    await worker.report(attempt, outcome=DONE.__class__(kind=DONE.kind, exit_code=1))
    with pytest.raises(StaleAttempt):
        await store.inputs.read(attempt.attempt_id, attempt.fence, offset=0, limit=9)
    again = await worker.start()
    kinds = [one.record.kind for one in await store.inputs.read(again.attempt_id, again.fence, offset=0, limit=9)]
    assert kinds == [InputKind.DATA, InputKind.SPENT, InputKind.END]
    assert (await store.inputs.advance(again.attempt_id, again.fence, 1)).written_offset == 1


async def test_input_that_is_kept_has_a_bound(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner_service.store.inputs.KEPT_PLACES", 10)
    _, job, attempt = await running(store, spec=PIPE | {"max_attempts": 2})
    assert (await store.inputs.append(job.job_id, inputs.data(bytes(20)), at=None)).taken == 10
    await store.inputs.advance(attempt.attempt_id, attempt.fence, 10)
    with pytest.raises(InputFull):
        await store.inputs.append(job.job_id, inputs.data(b"x"), at=None)


async def test_who_may_give_input_and_when(store: SqlStore) -> None:
    with pytest.raises(JobNotFound):
        await store.inputs.append("none", inputs.data(b"x"), at=None)
    silent = await create(store)
    with pytest.raises(InputNotTaken):
        await store.inputs.append(silent.job_id, inputs.data(b"x"), at=None)
    await store.jobs.cancel(silent.job_id, by="", reason="")
    worker, job, attempt = await running(store, spec=PIPE)
    await store.inputs.append(job.job_id, [*inputs.data(b"x"), inputs.END], at=0)
    with pytest.raises(InputEnded):
        await store.inputs.append(job.job_id, inputs.data(b"y"), at=None)
    await worker.report(attempt)
    # Given again it is no error, also when the job has ended.
    assert (await store.inputs.append(job.job_id, [*inputs.data(b"x"), inputs.END], at=0)).taken == 2
    with pytest.raises(JobFinished):
        await store.inputs.append(job.job_id, inputs.data(b"y"), at=None)
    await store.inputs.discard(job.job_id)


async def test_input_may_come_before_the_job_runs_and_goes_with_it(store: SqlStore) -> None:
    job = make_job(spec=PIPE)
    await store.jobs.create(job, queue_limit=PLENTY)
    await store.inputs.append(job.job_id, inputs.data(b"early"), at=0)
    assert (await store.jobs.get(job.job_id)).spec.stdin is Stdin.PIPE
    await store.jobs.cancel(job.job_id, by="", reason="")
    finished = (await store.jobs.get(job.job_id)).finished_at
    assert finished is not None
    assert (await store.jobs.expire(finished_before=finished + 1, limit=10)).jobs == 1
    with pytest.raises(JobNotFound):
        await store.inputs.status(job.job_id)


async def test_each_writer_counts_its_own_places(reopen: Opener) -> None:
    async with reopen() as store:
        _, job, attempt = await running(store, spec=PIPE)
        await store.inputs.append(job.job_id, inputs.data(b"one "), at=0, writer="a")
        await store.inputs.append(job.job_id, inputs.data(b"two "), at=0, writer="b")
        status = await store.inputs.append(job.job_id, inputs.data(b"one three "), at=0, writer="a")
        assert (status.next_offset, status.writer_offset, status.taken) == (14, 10, 10)
    async with reopen() as store:
        assert (await store.inputs.status(job.job_id, writer="b")).writer_offset == 4
        assert (await store.inputs.status(job.job_id, writer="nobody")).writer_offset == 0
        assert (await store.inputs.status(job.job_id)).writer_offset == 14
        status = await store.inputs.append(job.job_id, inputs.data(b"two four"), at=0, writer="b")
        assert (status.next_offset, status.writer_offset) == (18, 8)
        with pytest.raises(InvalidArgument, match="goes on at 8, not at 9"):
            await store.inputs.append(job.job_id, inputs.data(b"x"), at=9, writer="b")
        found = await store.inputs.read(attempt.attempt_id, attempt.fence, offset=0, limit=9)
    assert bytes_of(found) == b"one two three four"


async def test_a_writer_that_is_cut_at_the_limit_goes_on_where_it_was(store: SqlStore) -> None:
    _, job, attempt = await running(store, spec=PIPE)
    await store.inputs.append(job.job_id, inputs.data(bytes(WINDOW - 3)), at=0, writer="a")
    status = await store.inputs.append(job.job_id, inputs.data(b"abcde"), at=0, writer="b")
    assert (status.taken, status.writer_offset, status.next_offset) == (3, 3, WINDOW)
    found = await store.inputs.read(attempt.attempt_id, attempt.fence, offset=WINDOW - 3, limit=9)
    assert bytes_of(found) == b"abc"
    await store.inputs.advance(attempt.attempt_id, attempt.fence, WINDOW)
    status = await store.inputs.append(job.job_id, inputs.data(b"abcde"), at=0, writer="b")
    assert (status.taken, status.writer_offset) == (5, 5)
    found = await store.inputs.read(attempt.attempt_id, attempt.fence, offset=WINDOW, limit=9)
    assert bytes_of(found) == b"de"


async def test_the_writer_who_wrote_least_lately_is_forgotten_first(store: SqlStore) -> None:
    _, job, _ = await running(store, spec=PIPE)
    for number in range(KNOWN_WRITERS):
        await store.inputs.append(job.job_id, inputs.data(b"x"), at=0, writer=f"w{number}")
    await store.inputs.append(job.job_id, inputs.data(b"y"), at=1, writer="w0")
    await store.inputs.append(job.job_id, inputs.data(b"z"), at=0, writer="another")
    known = [(await store.inputs.status(job.job_id, writer=name)).writer_offset for name in ("w0", "w1", "w2")]
    assert known == [2, 0, 1]
