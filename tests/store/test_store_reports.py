"""How attempts end by report, and how they are given up."""

from __future__ import annotations

from dataclasses import replace

import pytest
from store_house import (
    BROKEN,
    DONE,
    MovingClock,
    Worker,
    chunk,
    create,
    kinds,
    make_runner,
    make_worker,
    register,
    running,
    seal_of,
)

from runner_service.domain.dispatch import Action, Report, Reported, Verdict
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import Attempt, AttemptState, JobState, LossPolicy
from runner_service.domain.outcomes import Outcome, OutcomeKind, Usage
from runner_service.ports.store import JobFilter
from runner_service.store import SqlStore


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (DONE, JobState.SUCCEEDED),
        (BROKEN, JobState.FAILED),
        (Outcome(kind=OutcomeKind.SIGNALED, signal=9, usage=Usage(wall_us=5)), JobState.FAILED),
        (Outcome(kind=OutcomeKind.TIMED_OUT, detail="run", step=2), JobState.TIMED_OUT),
        (Outcome(kind=OutcomeKind.CANCELLED, detail="shutdown"), JobState.CANCELLED),
        (Outcome(kind=OutcomeKind.LOST, detail="supervisor", survivors=1), JobState.LOST),
    ],
)
async def test_a_report_ends_attempt_and_job(
    store: SqlStore, clock: MovingClock, outcome: Outcome, state: JobState
) -> None:
    worker, job, attempt = await running(store)
    clock.advance(2)
    for _ in range(2):  # repeated, it is accepted again and nothing changes
        assert await worker.report(attempt, outcome) is Verdict.ACCEPTED
        clock.advance(1)
    found = await store.jobs.get(job.job_id)
    assert (found.state, found.outcome, found.finished_at) == (state, outcome, clock.now() - 2_000_000)
    ended = await store.jobs.attempt(attempt.attempt_id)
    assert (ended.state, ended.outcome, ended.finished_at) == (AttemptState.FINISHED, outcome, found.finished_at)
    assert await kinds(store, job) == ["created", "assigned", "running", "finished"]
    other = replace(outcome, message="other")
    assert await worker.report(attempt, other) is Verdict.ACCEPTED
    assert (await store.jobs.get(job.job_id)).outcome == outcome


async def test_a_worker_that_cancels_by_itself_says_so_like_any_other(store: SqlStore) -> None:
    worker, job, attempt = await running(store)
    await worker.report(attempt, Outcome(kind=OutcomeKind.CANCELLED, detail="shutdown", message="the worker stops"))
    found = await store.jobs.get(job.job_id)
    assert found.cancel is not None
    assert (found.state, found.cancel.by, found.cancel.reason) == (JobState.CANCELLED, "shutdown", "the worker stops")
    assert (await store.jobs.list(JobFilter(cancelling=True), limit=0)).jobs == (found,)


async def test_a_stale_report_changes_nothing(store: SqlStore) -> None:
    worker, job, attempt = await running(store)
    other = await make_worker(store)
    assert await worker.report(replace(attempt, fence=99)) is Verdict.STALE
    assert await worker.report(replace(attempt, attempt_id=new_id())) is Verdict.STALE
    assert await worker.report(replace(attempt, attempt_id="\x00\ud800")) is Verdict.STALE
    assert await other.report(attempt) is Verdict.STALE
    assert await store.jobs.get(job.job_id) == job


async def test_the_rest_of_the_log_comes_with_the_report(store: SqlStore) -> None:
    worker, job, attempt = await running(store)
    part = chunk(b"one", b"two")
    fields = {"first_sequence": 0, "records": 2, "journal": part.journal}
    for _ in range(2):
        assert await worker.report(attempt, seal=seal_of(b"one", b"two"), **fields) is Verdict.ACCEPTED
    status = await store.logs.status(attempt.attempt_id)
    assert (status.next_sequence, status.stdout_bytes, status.sealed, status.complete) == (2, 6, True, True)
    assert list(await store.logs.read(attempt.attempt_id, sequence=0, max_bytes=1)) == [part]
    assert (await store.jobs.get(job.job_id)).state is JobState.SUCCEEDED


async def test_a_report_without_its_log_is_sent_back_and_changes_nothing(store: SqlStore) -> None:
    worker, job, attempt = await running(store)
    seal = seal_of(b"a", b"b", b"c")
    behind_a_gap = chunk(b"c", first=2)
    fields = {"first_sequence": 2, "records": 1, "journal": behind_a_gap.journal}
    before = await store.logs.status(attempt.attempt_id)
    assert await worker.report(attempt, seal=seal) is Verdict.LOG_MISSING
    assert await worker.report(attempt, seal=seal, **fields) is Verdict.LOG_MISSING
    first = chunk(b"a")
    partly = {"first_sequence": 0, "records": 1, "journal": first.journal}
    assert await worker.report(attempt, seal=seal, **partly) is Verdict.LOG_MISSING
    assert await store.logs.status(attempt.attempt_id) == before
    assert await store.jobs.get(job.job_id) == job
    await store.logs.append(attempt.attempt_id, attempt.fence, chunk(b"a", b"b"), runner_id=attempt.runner_id)
    assert await worker.report(attempt, seal=seal, **fields) is Verdict.ACCEPTED


async def test_without_a_seal_the_log_is_given_up(store: SqlStore) -> None:
    worker, _, attempt = await running(store)
    await store.logs.append(attempt.attempt_id, attempt.fence, chunk(b"a"), runner_id=attempt.runner_id)
    assert await worker.report(attempt, seal=None) is Verdict.ACCEPTED
    status = await store.logs.status(attempt.attempt_id)
    assert (status.next_sequence, status.sealed, status.complete) == (1, True, False)


async def test_a_log_sealed_before_is_enough(store: SqlStore) -> None:
    worker, _, attempt = await running(store)
    await store.logs.append(attempt.attempt_id, attempt.fence, chunk(b"a"), runner_id=attempt.runner_id)
    await store.logs.seal(attempt.attempt_id, attempt.fence, seal_of(b"a"), runner_id=attempt.runner_id)
    again = chunk(b"a")
    verdict = await worker.report(attempt, seal=seal_of(b"a"), records=1, journal=again.journal)
    assert verdict is Verdict.ACCEPTED
    assert (await store.logs.status(attempt.attempt_id)).complete


async def test_reports_of_one_call_stand_alone(store: SqlStore) -> None:
    worker = await make_worker(store)
    for _ in range(3):
        await create(store)
    given = await worker.claim(3)
    await worker.beat()
    await worker.beat()
    good, missing, stale = (
        Report(
            runner_id=worker.runner_id,
            attempt_id=one.attempt.attempt_id,
            fence=one.attempt.fence,
            outcome=DONE,
            seal=seal_of(),
        )
        for one in given
    )
    reports = [good, replace(missing, seal=seal_of(b"x")), replace(stale, fence=0), good]
    verdicts = (await store.dispatch.report(reports)).verdicts
    assert list(verdicts) == [Verdict.ACCEPTED, Verdict.LOG_MISSING, Verdict.STALE, Verdict.ACCEPTED]
    assert await store.jobs.count() == {JobState.SUCCEEDED: 1, JobState.RUNNING: 2}
    assert list((await store.dispatch.report([])).verdicts) == []


async def test_a_report_claims_as_many_jobs_as_it_made_room_for(store: SqlStore) -> None:
    worker = await make_worker(store)
    jobs = [await create(store) for _ in range(4)]
    first, second = [one.attempt for one in await worker.claim(2)]
    worker.listed = {first.attempt_id: 1, second.attempt_id: 1}
    await store.dispatch.beat(replace(worker.said(), slots=2))

    async def report(*attempts: Attempt) -> Reported:
        reports = [
            Report(runner_id=worker.runner_id, attempt_id=attempt.attempt_id, fence=1, outcome=DONE, seal=seal_of())
            for attempt in attempts
        ]
        # More is wanted than there is room for: the store's count decides.
        return await store.dispatch.report(reports, along=worker.along(count=9))

    answer = await report(first)
    assert [(moved.job.job_id, moved.job.state) for moved in answer.moved] == [
        (jobs[0].job_id, JobState.SUCCEEDED),
        (jobs[2].job_id, JobState.ASSIGNED),
    ]
    assert [(order.action, order.job) for order in answer.orders] == [(Action.OFFER, answer.moved[1].job)]
    assert answer.moved[1].job.job_id == jobs[2].job_id
    again = await report(first)
    assert (list(again.verdicts), list(again.moved), list(again.orders)) == ([Verdict.ACCEPTED], [], [])
    assert [moved.job.job_id for moved in (await report(second)).moved] == [jobs[1].job_id, jobs[3].job_id]


async def test_failures_are_retried_until_the_attempts_are_used(store: SqlStore, clock: MovingClock) -> None:
    worker, job, attempt = await running(store, spec={"max_attempts": 2, "retry_delay_seconds": 10.0})
    assert await worker.report(attempt, BROKEN) is Verdict.ACCEPTED
    queued = await store.jobs.get(job.job_id)
    assert (queued.state, queued.not_before) == (JobState.QUEUED, clock.now() + 10_000_000)
    assert (queued.outcome, queued.finished_at, queued.attempt_id) == (None, None, attempt.attempt_id)
    assert (await store.jobs.attempt(attempt.attempt_id)).outcome == BROKEN
    clock.advance(10)
    second = await worker.start()
    assert second.number == 2
    # The report of the first attempt, once more, does not touch the second.
    assert await worker.report(attempt, BROKEN) is Verdict.ACCEPTED
    assert (await store.jobs.get(job.job_id)).state is JobState.RUNNING
    assert await worker.report(second, BROKEN) is Verdict.ACCEPTED
    found = await store.jobs.get(job.job_id)
    assert (found.state, found.attempts, found.started_at) == (JobState.FAILED, 2, job.started_at)
    assert [one.number for one in await store.jobs.attempts(job.job_id)] == [1, 2]


async def test_a_refusal_before_the_confirmation_counts_as_an_attempt(store: SqlStore) -> None:
    worker = await make_worker(store)
    job = await create(store)
    (assignment,) = await worker.claim()
    refused = Outcome(kind=OutcomeKind.REFUSED, detail="COMMAND_NOT_FOUND")
    assert await worker.report(assignment.attempt, refused) is Verdict.ACCEPTED
    found = await store.jobs.get(job.job_id)
    assert (found.state, found.attempts) == (JobState.FAILED, 1)


LOSSES = [
    # policy, further spec, seconds after the lease's end until it moves, state then
    (LossPolicy.WAIT, {"loss_wait_seconds": 60.0, "max_attempts": 2, "idempotent": True}, 70.0, JobState.LOST),
    (LossPolicy.FAIL, {"loss_wait_seconds": 60.0}, 10.0, JobState.LOST),
    (LossPolicy.RETRY, {"max_attempts": 2, "idempotent": True}, 10.0, JobState.QUEUED),
    (LossPolicy.RETRY, {"max_attempts": 2}, 10.0, JobState.LOST),
    (LossPolicy.RETRY, {"idempotent": True}, 10.0, JobState.LOST),
]


@pytest.mark.parametrize(("policy", "spec", "seconds", "state"), LOSSES)
async def test_a_lease_that_ran_out_moves_the_job_by_its_policy(
    store: SqlStore, clock: MovingClock, policy: LossPolicy, spec: dict[str, object], seconds: float, state: JobState
) -> None:
    worker, job, attempt = await running(store, spec={**spec, "loss_policy": policy})
    await store.logs.append(attempt.attempt_id, attempt.fence, chunk(b"a"), runner_id=attempt.runner_id)
    clock.advance(30 + seconds - 0.001)
    assert list(await store.dispatch.expire_leases(kill_budget_seconds=10)) == []
    clock.advance(0.001)
    assert list(await store.dispatch.expire_leases(kill_budget_seconds=10)) == [job.job_id]
    assert list(await store.dispatch.expire_leases(kill_budget_seconds=10)) == []
    found = await store.jobs.get(job.job_id)
    assert found.state is state
    lost = await store.jobs.attempt(attempt.attempt_id)
    assert lost.outcome is not None
    assert (lost.state, lost.outcome.kind, lost.outcome.detail) == (
        AttemptState.FINISHED,
        OutcomeKind.LOST,
        "lease_expired",
    )
    status = await store.logs.status(attempt.attempt_id)
    assert (status.sealed, status.complete, status.next_sequence) == (True, False, 1)
    # Terminal is final: the runner comes too late.
    assert await worker.report(attempt) is Verdict.STALE
    assert (await store.jobs.get(job.job_id)).state is state


async def test_a_cancelled_job_is_not_held_up_by_a_lost_runner(store: SqlStore, clock: MovingClock) -> None:
    worker, job, attempt = await running(store, spec={"loss_wait_seconds": 600.0})
    await store.jobs.cancel(job.job_id, by="me", reason="")
    clock.advance(39.9)
    assert list(await store.dispatch.expire_leases(kill_budget_seconds=10)) == []
    clock.advance(0.1)
    assert list(await store.dispatch.expire_leases(kill_budget_seconds=10)) == [job.job_id]
    assert (await store.jobs.get(job.job_id)).state is JobState.CANCELLED
    assert await worker.report(attempt) is Verdict.STALE


async def test_a_runner_that_comes_back_in_time_goes_on(store: SqlStore, clock: MovingClock) -> None:
    worker, job, _ = await running(store)
    clock.advance(300)
    assert list(await store.dispatch.expire_leases(kill_budget_seconds=10)) == []
    after = Worker(store, await store.runners.get(worker.runner_id))
    after.listed = dict(worker.listed)
    await after.beat()
    clock.advance(600)
    assert list(await store.dispatch.expire_leases(kill_budget_seconds=10)) == []
    assert (await store.jobs.get(job.job_id)).state is JobState.RUNNING


async def test_renewed_leases_blame_nobody(store: SqlStore, clock: MovingClock) -> None:
    worker, _, _ = await running(store, spec={"loss_policy": LossPolicy.FAIL})
    clock.advance(10_000)
    await store.dispatch.renew_leases(lease_seconds=30)
    assert (await store.runners.get(worker.runner_id)).lease_until == clock.now() + 30_000_000
    assert list(await store.dispatch.expire_leases(kill_budget_seconds=10)) == []
    clock.advance(40)
    assert len(await store.dispatch.expire_leases(kill_budget_seconds=10)) == 1


async def test_renewed_are_only_leases_that_there_were(store: SqlStore, clock: MovingClock) -> None:
    never_heard = await register(store, make_runner())
    holder, _, _ = await running(store)
    idle = await make_worker(store)
    clock.advance(10_000)
    moved = (await store.runners.advance(silence_seconds=60)).moved
    assert set(moved) == {holder.runner_id, idle.runner_id}  # missed, while the server was there
    await store.dispatch.renew_leases(lease_seconds=30)
    renewed = clock.now() + 30_000_000
    leases = [(await store.runners.get(one.runner_id)).lease_until for one in (never_heard, idle, holder)]
    assert leases[0] == 0 and leases[1] < clock.now() and leases[2] == renewed
