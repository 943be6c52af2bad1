"""The order of events."""

from __future__ import annotations

import asyncio

import psycopg
from store_house import MovingClock, Opener, create, make_worker, running

from runner_service.domain.jobs import JobState
from runner_service.store import SqlStore, open_store


async def test_events_tell_each_move_in_order(store: SqlStore, clock: MovingClock) -> None:
    worker, job, attempt = await running(store)
    clock.advance(1)
    await store.jobs.cancel(job.job_id, by="me", reason="")
    await worker.report(attempt)
    events = await store.jobs.events(after=0, limit=99)
    assert [(event.kind, event.state, event.attempt_id) for event in events] == [
        ("created", JobState.QUEUED, ""),
        ("assigned", JobState.ASSIGNED, attempt.attempt_id),
        ("running", JobState.RUNNING, attempt.attempt_id),
        ("cancel_requested", JobState.RUNNING, attempt.attempt_id),
        ("finished", JobState.CANCELLED, attempt.attempt_id),
    ]
    assert {event.job_id for event in events} == {job.job_id}
    assert events[-1].at == clock.now()
    sequences = [event.sequence for event in events]
    assert sequences == sorted(set(sequences))
    assert await store.jobs.last_event() == sequences[-1]


async def test_events_are_read_on_from_any_of_them(store: SqlStore) -> None:
    assert await store.jobs.last_event() == 0
    assert list(await store.jobs.events(after=0, limit=9)) == []
    jobs = [await create(store) for _ in range(3)]
    events = await store.jobs.events(after=0, limit=2)
    assert [event.job_id for event in events] == [jobs[0].job_id, jobs[1].job_id]
    rest = await store.jobs.events(after=events[-1].sequence, limit=9)
    assert [event.job_id for event in rest] == [jobs[2].job_id]
    assert list(await store.jobs.events(after=rest[-1].sequence, limit=9)) == []
    only = await store.jobs.events(after=0, limit=9, job_id=jobs[1].job_id)
    assert [event.job_id for event in only] == [jobs[1].job_id]
    assert list(await store.jobs.events(after=only[-1].sequence, limit=9, job_id=jobs[1].job_id)) == []


async def test_a_reader_misses_nothing_while_many_write(reopen: Opener) -> None:
    async with reopen() as one, reopen() as two:
        stores = [one, two if one.shared else one]
        workers = [await make_worker(store) for store in stores]

        async def write(number: int) -> None:
            store = stores[number % 2]
            await create(store)
            for assignment in await workers[number % 2].claim(2):
                await store.jobs.cancel(assignment.job.job_id, by="", reason="")

        writing = asyncio.gather(*(write(number) for number in range(60)))
        seen: list[int] = []
        while True:
            finished = writing.done()
            found = await one.jobs.events(after=seen[-1] if seen else 0, limit=7)
            seen += [event.sequence for event in found]
            if finished and not found:
                break
        await writing
        assert seen == [event.sequence for event in await two.jobs.events(after=0, limit=9999)]
        assert len(seen) >= 120


async def test_an_event_behind_one_still_being_written_is_held_back(postgres_url: str) -> None:
    """Two connections: the first takes a number and is slow to commit, the second is faster."""
    async with open_store(postgres_url) as store:
        slow = await psycopg.AsyncConnection.connect(postgres_url.replace("+psycopg", ""))
        async with slow:
            await slow.execute("SELECT pg_current_xact_id()")
            await slow.execute(
                "INSERT INTO job_events (job_id, at, state, kind, attempt_id, detail)"
                " VALUES ('slow', 1, 'QUEUED', 'created', '', '')"
            )
            fast = await create(store)
            assert list(await store.jobs.events(after=0, limit=9)) == []
            assert await store.jobs.last_event() == 0
            await slow.commit()
        events = await store.jobs.events(after=0, limit=9)
        assert [event.job_id for event in events] == ["slow", fast.job_id]
        assert await store.jobs.last_event() == events[-1].sequence
