"""How long a job may wait for a runner."""

from __future__ import annotations

from store_house import BROKEN, SECOND, MovingClock, create, kinds, make_worker

from runner_service.domain.jobs import JobState
from runner_service.domain.outcomes import Outcome, OutcomeKind
from runner_service.store import SqlStore

WAITS = {"queue_timeout_seconds": 10.0}


async def test_a_job_that_waits_too_long_is_timed_out(store: SqlStore, clock: MovingClock) -> None:
    patient = await create(store)
    job = await create(store, spec=WAITS)
    assert job.queue_deadline == clock.now() + 10 * SECOND
    clock.advance(9.9)
    assert await store.dispatch.expire_queued() == []
    clock.advance(0.1)
    assert await store.dispatch.expire_queued() == [job.job_id]
    assert await store.dispatch.expire_queued() == []
    found = await store.jobs.get(job.job_id)
    assert (found.state, found.outcome) == (JobState.TIMED_OUT, Outcome(kind=OutcomeKind.TIMED_OUT, detail="queue"))
    assert found.finished_at == clock.now()
    assert (await store.jobs.get(patient.job_id)).state is JobState.QUEUED
    assert await kinds(store, job) == ["created", "finished"]
    assert await store.jobs.count() == {JobState.QUEUED: 1, JobState.TIMED_OUT: 1}


async def test_a_job_that_has_a_runner_does_not_wait_any_more(store: SqlStore, clock: MovingClock) -> None:
    worker = await make_worker(store)
    job = await create(store, spec=WAITS)
    await worker.start()
    clock.advance(100)
    assert await store.dispatch.expire_queued() == []
    assert (await store.jobs.get(job.job_id)).state is JobState.RUNNING


async def test_an_assignment_that_was_not_confirmed_costs_no_patience_and_gives_none(
    store: SqlStore, clock: MovingClock
) -> None:
    worker = await make_worker(store)
    job = await create(store, spec=WAITS)
    await worker.claim()
    clock.advance(60)
    assert await store.dispatch.expire_queued() == []  # assigned
    assert await store.dispatch.release_unconfirmed(older_than_seconds=15) == [job.job_id]
    assert await store.dispatch.expire_queued() == [job.job_id]


async def test_a_retry_waits_anew_from_the_end_of_its_delay(store: SqlStore, clock: MovingClock) -> None:
    worker = await make_worker(store)
    job = await create(store, spec={**WAITS, "max_attempts": 2, "retry_delay_seconds": 30.0})
    attempt = await worker.start()
    await worker.report(attempt, BROKEN)
    clock.advance(39)
    assert await store.dispatch.expire_queued() == []
    clock.advance(1)
    assert await store.dispatch.expire_queued() == [job.job_id]
    assert len(await store.jobs.attempts(job.job_id)) == 1
