"""Making, reading and cancelling jobs."""

from __future__ import annotations

import asyncio

import pytest
from store_house import (
    DONE,
    PLENTY,
    START,
    MovingClock,
    create,
    kinds,
    make_job,
    make_worker,
    running,
)

from runner_service.domain.containers import Container, PullPolicy
from runner_service.domain.dispatch import Action, Verdict
from runner_service.domain.errors import AlreadyExists, AttemptNotFound, JobFinished, JobNotFound, QueueFull
from runner_service.domain.jobs import Cancel, JobKind, JobState, LossPolicy, Step
from runner_service.domain.outcomes import Outcome, OutcomeKind, Usage
from runner_service.store import SqlStore

RICH = {
    "steps": (Step(name="one", argv=("a", "b\nü\x00"), script=""), Step(script="exit 7")),
    "environment": {"A": "1", "ü": "=\n"},
    "working_directory": "/srv",
    "timeout_seconds": 1.5,
    "kill_grace_seconds": 0.25,
    "log_limit_bytes": 77,
    "required_labels": {"os": "linux"},
    "max_attempts": 3,
    "retry_delay_seconds": 2.5,
    "idempotent": True,
    "loss_policy": LossPolicy.RETRY,
    "loss_wait_seconds": 9.0,
    "container": Container(
        image="debian:12", pull_policy=PullPolicy.NEVER, user="u", network="none", volumes=("/a:/b",), privileged=True
    ),
}


async def test_a_job_comes_back_as_it_went_in_with_its_time(store: SqlStore) -> None:
    asked = make_job(
        spec=RICH,
        kind=JobKind.JOB,
        origin="sct",
        priority=-3,
        tags={"team": "a"},
        annotations={"priority": "high"},
        request_id="r1",
        created_by="key-1",
        retry_of="another",
    )
    job, made = await store.jobs.create(asked, queue_limit=PLENTY)
    assert made
    assert job.created_at == START
    assert await store.jobs.get(job.job_id) == job
    assert job.spec == asked.spec
    assert await kinds(store, job) == ["created"]


async def test_an_ended_job_is_stored_as_ended(store: SqlStore) -> None:
    outcome = Outcome(
        kind=OutcomeKind.REFUSED, detail="TOO_LARGE", message="no", usage=Usage(wall_us=1, cpu_us=2), step_codes=(0, -1)
    )
    job = await create(store, state=JobState.FAILED, outcome=outcome)
    found = await store.jobs.get(job.job_id)
    assert (found.state, found.created_at, found.finished_at, found.outcome) == (JobState.FAILED, START, START, outcome)
    assert [event.state for event in await store.jobs.events(after=0, limit=9)] == [JobState.FAILED]


@pytest.mark.parametrize(
    "job_id",
    ["", "x", "job_1", "\x00" * 36, "ü" * 36, "\ud800" * 36, "01a1fa66-57bb-78c1-84e0-3c671d0f8d8e", "a" * 5000],
)
async def test_an_unknown_job_is_not_found_whatever_its_id_looks_like(store: SqlStore, job_id: str) -> None:
    with pytest.raises(JobNotFound):
        await store.jobs.get(job_id)
    with pytest.raises(JobNotFound):
        await store.jobs.cancel(job_id, by="", reason="")
    with pytest.raises(AttemptNotFound):
        await store.jobs.attempt(job_id)
    assert list(await store.jobs.attempts(job_id)) == []
    assert list(await store.jobs.events(after=0, limit=5, job_id=job_id)) == []


async def test_the_same_request_id_gives_the_same_job_and_no_second(store: SqlStore) -> None:
    first, made = await store.jobs.create(make_job(request_id="r"), fingerprint="f", queue_limit=1)
    again, made_again = await store.jobs.create(make_job(request_id="r"), fingerprint="f", queue_limit=1)
    assert (made, made_again) == (True, False)
    assert again == first
    assert await store.jobs.count() == {JobState.QUEUED: 1}
    with pytest.raises(AlreadyExists):
        await store.jobs.create(make_job(request_id="r"), fingerprint="other", queue_limit=PLENTY)
    for other in (make_job(request_id="r", origin="sct"), make_job(request_id="r", created_by="b"), make_job()):
        assert (await store.jobs.create(other, fingerprint="x", queue_limit=PLENTY))[1]


async def test_the_same_request_at_the_same_time_makes_one_job(store: SqlStore) -> None:
    answers = await asyncio.gather(
        *(store.jobs.create(make_job(request_id="r"), fingerprint="f", queue_limit=PLENTY) for _ in range(20))
    )
    assert len({job.job_id for job, _ in answers}) == 1
    assert sum(made for _, made in answers) == 1


async def test_the_queue_is_bounded_whatever_many_do_at_once(store: SqlStore) -> None:
    answers = await asyncio.gather(
        *(store.jobs.create(make_job(), queue_limit=7) for _ in range(40)), return_exceptions=True
    )
    assert sum(isinstance(answer, tuple) for answer in answers) == 7
    assert all(isinstance(answer, tuple | QueueFull) for answer in answers)
    assert await store.jobs.count() == {JobState.QUEUED: 7}
    # What is not queued needs no room.
    await store.jobs.create(make_job(state=JobState.FAILED, outcome=DONE), queue_limit=7)
    worker = await make_worker(store)
    await worker.claim(2)
    for _ in range(2):
        await store.jobs.create(make_job(), queue_limit=7)
    with pytest.raises(QueueFull):
        await store.jobs.create(make_job(), queue_limit=7)


async def test_the_length_of_the_queue_stays_true_over_many_moves(store: SqlStore) -> None:
    worker = await make_worker(store)
    for _ in range(100):
        job = await create(store)
        await store.jobs.cancel(job.job_id, by="", reason="")
    for _ in range(3):
        await create(store)
    await worker.start()
    with pytest.raises(QueueFull):
        await store.jobs.create(make_job(), queue_limit=2)
    await store.jobs.create(make_job(), queue_limit=3)


async def test_position_counts_those_with_more_priority_or_age(store: SqlStore) -> None:
    first = await create(store)
    second = await create(store, spec={"required_labels": {"gpu": "1"}})
    urgent = await create(store, priority=5)
    positions = [await store.jobs.position(job.job_id) for job in (urgent, first, second)]
    assert positions == [0, 1, 2]
    await store.jobs.cancel(urgent.job_id, by="", reason="")
    assert await store.jobs.position(second.job_id) == 1
    assert await store.jobs.position(urgent.job_id) == 0


async def test_count_tells_states_by_origin(store: SqlStore) -> None:
    await create(store, origin="sct")
    await create(store)
    ended = await create(store)
    await store.jobs.cancel(ended.job_id, by="", reason="")
    assert await store.jobs.count() == {JobState.QUEUED: 2, JobState.CANCELLED: 1}
    assert await store.jobs.count("native") == {JobState.QUEUED: 1, JobState.CANCELLED: 1}
    assert await store.jobs.count("other") == {}


async def test_a_queued_job_is_cancelled_at_once(store: SqlStore, clock: MovingClock) -> None:
    job = await create(store)
    clock.advance(1)
    cancelled = await store.jobs.cancel(job.job_id, by="me", reason="why")
    assert cancelled == await store.jobs.get(job.job_id)
    assert cancelled.state is JobState.CANCELLED
    assert cancelled.finished_at == clock.now()
    assert cancelled.cancel == Cancel(at=clock.now(), by="me", reason="why")
    assert cancelled.outcome == Outcome(kind=OutcomeKind.CANCELLED, detail="me", message="why")
    assert await kinds(store, job) == ["created", "finished"]
    worker = await make_worker(store)
    assert list(await worker.claim()) == []
    with pytest.raises(JobFinished) as error:
        await store.jobs.cancel(job.job_id, by="", reason="")
    assert error.value.metadata["state"] == "CANCELLED"


async def test_an_assigned_job_is_cancelled_at_once_and_its_attempt_is_gone(store: SqlStore) -> None:
    worker = await make_worker(store)
    job = await create(store)
    (assignment,) = await worker.claim()
    await worker.beat()
    cancelled = await store.jobs.cancel(job.job_id, by="", reason="")
    assert (cancelled.state, cancelled.attempt_id, cancelled.attempts) == (JobState.CANCELLED, "", 0)
    assert list(await store.jobs.attempts(job.job_id)) == []
    orders = await worker.beat()
    assert orders[assignment.attempt.attempt_id].action is Action.FORGET
    assert await worker.report(assignment.attempt) is Verdict.STALE


async def test_a_running_job_gets_its_cancel_recorded_once(store: SqlStore, clock: MovingClock) -> None:
    worker, job, attempt = await running(store)
    asked = await store.jobs.cancel(job.job_id, by="me", reason="why")
    assert (asked.state, asked.cancelling) == (JobState.RUNNING, True)
    clock.advance(5)
    assert await store.jobs.cancel(job.job_id, by="you", reason="again") == asked
    orders = await worker.beat()
    assert orders[attempt.attempt_id].action is Action.CANCEL
    assert orders[attempt.attempt_id].cancel == asked.cancel
    assert await worker.report(attempt, DONE) is Verdict.ACCEPTED
    ended = await store.jobs.get(job.job_id)
    assert (ended.state, ended.cancelling) == (JobState.CANCELLED, False)
    assert ended.outcome is not None
    assert (ended.outcome.kind, ended.outcome.detail, ended.outcome.exit_code) == (OutcomeKind.CANCELLED, "me", 0)
    assert await kinds(store, job) == ["created", "assigned", "running", "cancel_requested", "finished"]


async def test_a_job_that_waits_for_its_retry_is_cancelled_at_once(store: SqlStore) -> None:
    worker, job, attempt = await running(store, spec={"max_attempts": 2, "retry_delay_seconds": 60.0})
    await worker.report(attempt, Outcome(kind=OutcomeKind.EXITED, exit_code=1))
    cancelled = await store.jobs.cancel(job.job_id, by="", reason="")
    assert (cancelled.state, cancelled.attempt_id) == (JobState.CANCELLED, attempt.attempt_id)


async def test_cancelling_an_assigned_retry_leaves_the_attempt_before_it(store: SqlStore) -> None:
    worker, job, attempt = await running(store, spec={"max_attempts": 2})
    await worker.report(attempt, Outcome(kind=OutcomeKind.EXITED, exit_code=1))
    (second,) = await worker.claim()
    assert (second.attempt.number, second.attempt.fence) == (2, 2)
    cancelled = await store.jobs.cancel(job.job_id, by="", reason="")
    assert (cancelled.attempt_id, cancelled.attempts) == (attempt.attempt_id, 1)
    assert [one.attempt_id for one in await store.jobs.attempts(job.job_id)] == [attempt.attempt_id]
