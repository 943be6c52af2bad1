"""The beats of workers: identity, confirmation, orders."""

from __future__ import annotations

from dataclasses import replace

import pytest
from store_house import SECOND, MovingClock, Worker, create, kinds, make_runner, make_worker, register, running

from runner_service.domain.dispatch import Action, Beat, BeatAnswer, Listed, Phase, Verdict
from runner_service.domain.errors import RunnerNotFound, StaleSync, StaleWorker
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import AttemptState, JobState
from runner_service.domain.outcomes import OutcomeKind
from runner_service.store import SqlStore


async def test_a_beat_takes_over_identity_facts_and_lease(store: SqlStore, clock: MovingClock) -> None:
    runner = await register(store, make_runner())
    clock.advance(7)
    said = Beat(
        runner_id=runner.runner_id,
        session_id=new_id(),
        boot_id="boot",
        version="1.2",
        labels={"os": "linux"},
        slots=4,
        lease_seconds=12.5,
    )
    after, orders, *_ = await store.dispatch.beat(said)
    assert list(orders) == []
    assert after == await store.runners.get(runner.runner_id)
    assert (after.session_id, after.boot_id, after.version) == (said.session_id, "boot", "1.2")
    assert (after.labels, after.slots) == ({"os": "linux"}, 4)
    assert (after.last_seen_at, after.lease_until) == (clock.now(), clock.now() + 12_500_000)


async def test_an_unknown_runner_must_register(store: SqlStore) -> None:
    with pytest.raises(RunnerNotFound):
        await store.dispatch.beat(Beat(runner_id=new_id(), session_id=new_id()))


async def test_a_later_session_takes_the_identity_and_the_earlier_is_refused(store: SqlStore) -> None:
    old = await make_worker(store)
    new = Worker(store, await store.runners.get(old.runner_id))
    job = await create(store)
    await old.start()
    new.listed = dict(old.listed)
    orders = await new.beat()
    assert [order.action for order in orders.values()] == [Action.RUN]
    before = await store.runners.get(old.runner_id)
    old.listed = {}
    with pytest.raises(StaleWorker):
        await old.beat()
    assert await store.runners.get(old.runner_id) == before
    assert (await store.jobs.get(job.job_id)).state is JobState.RUNNING


async def test_a_late_beat_changes_nothing(store: SqlStore) -> None:
    worker, job, attempt = await running(store)
    late = Beat(runner_id=worker.runner_id, session_id=worker.session_id, sync_number=worker.number - 1)
    with pytest.raises(StaleSync):
        await store.dispatch.beat(late)
    assert (await store.jobs.get(job.job_id)).state is JobState.RUNNING
    # The same again is the same: the answer was lost.
    worker.number -= 1
    assert (await worker.beat())[attempt.attempt_id].action is Action.RUN
    # A new session counts anew.
    after = Worker(store, await store.runners.get(worker.runner_id))
    after.listed = dict(worker.listed)
    assert (await after.beat())[attempt.attempt_id].action is Action.RUN


async def test_an_offer_is_confirmed_by_listing_it_and_only_then_runs(store: SqlStore, clock: MovingClock) -> None:
    worker = await make_worker(store)
    job = await create(store)
    (assignment,) = await worker.claim()
    attempt_id = assignment.attempt.attempt_id
    clock.advance(1)
    offered = await worker.beat()
    assert offered[attempt_id].action is Action.OFFER
    assert offered[attempt_id].job == assignment.job
    assert (await store.jobs.attempt(attempt_id)).state is AttemptState.ASSIGNED
    clock.advance(1)
    confirmed = await worker.beat()
    found = await store.jobs.get(job.job_id)
    assert confirmed[attempt_id].action is Action.RUN
    assert confirmed[attempt_id].job == found
    assert (found.state, found.attempts, found.started_at) == (JobState.RUNNING, 1, clock.now())
    attempt = await store.jobs.attempt(attempt_id)
    assert (attempt.state, attempt.started_at) == (AttemptState.RUNNING, clock.now())
    again = await worker.beat()
    assert again == confirmed
    assert await kinds(store, job) == ["created", "assigned", "running"]


async def test_an_offer_is_repeated_until_it_is_listed(store: SqlStore) -> None:
    worker = await make_worker(store)
    await create(store)
    (assignment,) = await worker.claim()
    for _ in range(2):
        worker.listed = {}
        assert [order.action for order in (await worker.beat()).values()] == [Action.OFFER]
    assert (await store.jobs.attempt(assignment.attempt.attempt_id)).state is AttemptState.ASSIGNED


async def test_what_is_not_the_runners_is_to_be_forgotten(store: SqlStore) -> None:
    worker, job, attempt = await running(store)
    other = await make_worker(store)
    strange = (
        Listed(attempt_id=new_id(), fence=1),
        Listed(attempt_id=attempt.attempt_id, fence=attempt.fence),
        Listed(attempt_id="no id at all \x00", fence=-1),
    )
    other.number += 1
    said = Beat(runner_id=other.runner_id, session_id=other.session_id, sync_number=other.number, listed=strange)
    _, orders, *_ = await store.dispatch.beat(said)
    assert {(order.action, order.attempt_id, order.fence) for order in orders} == {
        (Action.FORGET, one.attempt_id, one.fence) for one in strange
    }
    assert (await store.jobs.get(job.job_id)).state is JobState.RUNNING
    # Ended ones too.
    await worker.report(attempt)
    worker.listed = {attempt.attempt_id: attempt.fence}
    assert (await worker.beat())[attempt.attempt_id].action is Action.FORGET


async def test_another_fence_is_to_be_forgotten_and_does_not_confirm(store: SqlStore) -> None:
    worker = await make_worker(store)
    await create(store)
    (assignment,) = await worker.claim()
    worker.listed = {assignment.attempt.attempt_id: 99}
    _, orders, *_ = await store.dispatch.beat(worker.said())
    assert {order.action for order in orders} == {Action.OFFER, Action.FORGET}


async def test_a_running_attempt_that_is_not_listed_is_lost(store: SqlStore) -> None:
    worker, job, attempt = await running(store)
    worker.listed = {}
    assert await worker.beat() == {}
    found = await store.jobs.get(job.job_id)
    assert found.state is JobState.LOST
    assert found.outcome is not None
    assert (found.outcome.kind, found.outcome.detail) == (OutcomeKind.LOST, "runner_forgot")
    status = await store.logs.status(attempt.attempt_id)
    assert (status.sealed, status.complete) == (True, False)


async def test_a_forgotten_attempt_is_retried_where_that_is_allowed(store: SqlStore) -> None:
    spec = {"max_attempts": 2, "idempotent": True, "loss_policy": "RETRY"}
    from runner_service.domain.jobs import LossPolicy

    worker, job, _ = await running(store, spec={**spec, "loss_policy": LossPolicy.RETRY})
    worker.listed = {}
    await worker.beat()
    assert (await store.jobs.get(job.job_id)).state is JobState.QUEUED
    assert (await worker.start()).number == 2
    assert await kinds(store, job) == ["created", "assigned", "running", "requeued", "assigned", "running"]


async def test_an_unconfirmed_assignment_goes_back_at_no_cost(store: SqlStore, clock: MovingClock) -> None:
    worker = await make_worker(store)
    job = await create(store, spec={"max_attempts": 1})
    (first,) = await worker.claim()
    clock.advance(15)
    assert list(await store.dispatch.release_unconfirmed(older_than_seconds=15)) == []
    clock.advance(1)
    assert list(await store.dispatch.release_unconfirmed(older_than_seconds=15)) == [job.job_id]
    queued = await store.jobs.get(job.job_id)
    assert (queued.state, queued.attempts, queued.attempt_id, queued.runner_id) == (JobState.QUEUED, 0, "", "")
    assert list(await store.jobs.attempts(job.job_id)) == []
    worker.listed = {first.attempt.attempt_id: first.attempt.fence}
    assert (await worker.beat())[first.attempt.attempt_id].action is Action.FORGET
    (second,) = await worker.claim()
    assert (second.attempt.number, second.attempt.fence) == (1, 2)
    assert second.attempt.attempt_id != first.attempt.attempt_id
    assert await kinds(store, job) == ["created", "assigned", "requeued", "assigned"]
    # A confirmed one stays.
    await worker.beat()
    await worker.beat()
    clock.advance(100 * SECOND / SECOND)
    assert list(await store.dispatch.release_unconfirmed(older_than_seconds=15)) == []


async def test_a_worker_without_slots_gives_its_unlisted_offers_back_at_once(store: SqlStore) -> None:
    worker, other = await make_worker(store), await make_worker(store)
    job = await create(store)
    await worker.claim()
    _, orders, *_ = await store.dispatch.beat(replace(worker.said(), slots=0))
    assert list(orders) == []
    queued = await store.jobs.get(job.job_id)
    assert (queued.state, queued.attempts, queued.attempt_id) == (JobState.QUEUED, 0, "")
    assert [assignment.job.job_id for assignment in await other.claim()] == [job.job_id]


async def test_a_beat_of_many_attempts_orders_each(store: SqlStore) -> None:
    worker = await make_worker(store)
    jobs = [await create(store) for _ in range(32)]
    await worker.claim(32)
    assert {order.action for order in (await worker.beat()).values()} == {Action.OFFER}
    orders = await worker.beat()
    assert {order.action for order in orders.values()} == {Action.RUN}
    assert {order.job.job_id for order in orders.values() if order.job} == {job.job_id for job in jobs}


async def _forgets(worker: Worker, **said: str) -> BeatAnswer:
    """A worker that comes back with nothing, and says so much of itself."""
    worker.session_id, worker.number, worker.listed = new_id(), 0, {}
    return await worker.store.dispatch.beat(replace(worker.said(), **said))


SPOOL = {"boot_id": "boot", "spool_id": "spool"}


async def test_what_a_later_session_of_the_same_spool_does_not_list_was_never_started(store: SqlStore) -> None:
    worker, other = await make_worker(store), await make_worker(store)
    job = await create(store)
    await _forgets(worker, **SPOOL)
    (first,) = await worker.claim()
    worker.listed = {first.attempt.attempt_id: first.attempt.fence}
    await store.dispatch.beat(replace(worker.said(), **SPOOL))
    assert (await store.jobs.get(job.job_id)).state is JobState.RUNNING
    answer = await _forgets(worker, **SPOOL)
    assert list(answer.orders) == []
    assert [(moved.job.job_id, moved.attempt_id) for moved in answer.moved] == [(job.job_id, first.attempt.attempt_id)]
    queued = await store.jobs.get(job.job_id)
    assert (queued.state, queued.attempts, queued.attempt_id, queued.runner_id) == (JobState.QUEUED, 0, "", "")
    assert queued.started_at is None
    assert list(await store.jobs.attempts(job.job_id)) == []
    assert await kinds(store, job) == ["created", "assigned", "running", "requeued"]
    # Its runner may not come to report it any more.
    assert await worker.report(first.attempt) is Verdict.STALE
    (second,) = await other.claim()
    assert (second.attempt.number, second.attempt.fence) == (1, 2)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({**SPOOL, "boot_id": "later"}, "machine_rebooted"),
        ({**SPOOL, "boot_id": "later", "spool_id": "copy"}, "machine_rebooted"),
        ({**SPOOL, "boot_id": ""}, "runner_forgot"),
        ({**SPOOL, "spool_id": "copy"}, "runner_forgot"),
        ({**SPOOL, "spool_id": ""}, "runner_forgot"),
    ],
    ids=["other boot", "other boot and spool", "no boot", "other spool", "no spool"],
)
async def test_of_another_boot_or_spool_nobody_knows_what_was_started(
    store: SqlStore, said: dict[str, str], why: str
) -> None:
    worker = await make_worker(store)
    await _forgets(worker, **SPOOL)
    job = await create(store)
    (first,) = await worker.claim()
    worker.listed = {first.attempt.attempt_id: first.attempt.fence}
    await store.dispatch.beat(replace(worker.said(), **SPOOL))
    await _forgets(worker, **said)
    lost = await store.jobs.get(job.job_id)
    assert (lost.state, lost.outcome and lost.outcome.detail) == (JobState.LOST, why)


@pytest.mark.parametrize("spools", [("spool", "other", "other"), ("spool", "other", "spool"), ("spool", "", "spool")])
async def test_a_spool_that_changes_within_a_session_vouches_for_nothing(
    store: SqlStore, spools: tuple[str, ...]
) -> None:
    worker = await make_worker(store)
    await _forgets(worker, **SPOOL)
    job = await create(store)
    (first,) = await worker.claim()
    worker.listed = {first.attempt.attempt_id: first.attempt.fence}
    for spool in spools[:2]:
        await store.dispatch.beat(replace(worker.said(), boot_id="boot", spool_id=spool))
    await _forgets(worker, boot_id="boot", spool_id=spools[2])
    assert (await store.jobs.get(job.job_id)).state is JobState.LOST


async def test_within_a_session_an_attempt_that_is_not_listed_any_more_is_lost(store: SqlStore) -> None:
    worker = await make_worker(store)
    await _forgets(worker, **SPOOL)
    job = await create(store)
    (first,) = await worker.claim()
    worker.listed = {first.attempt.attempt_id: first.attempt.fence}
    await store.dispatch.beat(replace(worker.said(), **SPOOL))
    worker.listed = {}
    await store.dispatch.beat(replace(worker.said(), **SPOOL))
    assert (await store.jobs.get(job.job_id)).state is JobState.LOST


async def test_a_cancelled_job_that_was_never_started_is_not_queued_again(store: SqlStore) -> None:
    worker = await make_worker(store)
    await _forgets(worker, **SPOOL)
    job = await create(store)
    (first,) = await worker.claim()
    worker.listed = {first.attempt.attempt_id: first.attempt.fence}
    await store.dispatch.beat(replace(worker.said(), **SPOOL))
    await store.jobs.cancel(job.job_id, by="somebody", reason="")
    await _forgets(worker, **SPOOL)
    assert (await store.jobs.get(job.job_id)).state is JobState.CANCELLED


async def test_orders_that_say_nothing_new_are_left_out_when_that_is_asked_for(store: SqlStore) -> None:
    worker = await make_worker(store)
    started, ending, held, offered = [await create(store) for _ in range(4)]
    attempts = {one.job.job_id: one.attempt for one in await worker.claim(4)}
    said = replace(worker.said(), slots=9)
    phases = {started.job_id: Phase.STARTED, ending.job_id: Phase.ENDING, held.job_id: Phase.HELD}
    listed = tuple(
        Listed(attempt_id=attempts[job_id].attempt_id, fence=1, phase=phase) for job_id, phase in phases.items()
    )
    await store.dispatch.beat(replace(said, listed=listed))
    await store.jobs.cancel(ending.job_id, by="somebody", reason="")
    beat = replace(worker.said(), slots=9, listed=listed, changes_only=True)
    assert {order.job.job_id: order.action for order in (await store.dispatch.beat(beat)).orders if order.job} == {
        held.job_id: Action.RUN,
        offered.job_id: Action.OFFER,
    }
    # What is cancelled and goes on, another fence, and what is not known: all of that is still said.
    listed = (replace(listed[0], fence=2), replace(listed[1], phase=Phase.STARTED))
    beat = replace(worker.said(), slots=9, listed=listed, changes_only=True)
    actions = {order.attempt_id: order.action for order in (await store.dispatch.beat(beat)).orders}
    assert actions[attempts[started.job_id].attempt_id] is Action.FORGET
    assert actions[attempts[ending.job_id].attempt_id] is Action.CANCEL


async def test_a_beat_with_news_takes_jobs_for_the_free_slots_along(store: SqlStore) -> None:
    worker = await make_worker(store)
    first, second, third = [await create(store) for _ in range(3)]
    (one,) = await worker.claim()
    held = Listed(attempt_id=one.attempt.attempt_id, fence=1, phase=Phase.HELD)
    answer = await store.dispatch.beat(replace(worker.said(), slots=2, listed=(held,), claims=True))
    assert [(order.action, order.job and order.job.job_id) for order in answer.orders] == [
        (Action.RUN, first.job_id),
        (Action.OFFER, second.job_id),
    ]
    assert {moved.job.job_id: moved.job.state for moved in answer.moved} == {
        first.job_id: JobState.RUNNING,
        second.job_id: JobState.ASSIGNED,
    }
    # What has ended keeps its slot until it is reported.
    ended = (replace(held, phase=Phase.ENDED), Listed(attempt_id=answer.orders[1].attempt_id, fence=1))
    answer = await store.dispatch.beat(replace(worker.said(), slots=2, listed=ended, claims=True))
    assert [order.action for order in answer.orders] == [Action.RUN, Action.RUN]
    assert (await store.jobs.get(third.job_id)).state is JobState.QUEUED


async def test_a_beat_without_news_takes_nothing_along(store: SqlStore) -> None:
    worker = await make_worker(store)
    job = await create(store)
    assert list((await store.dispatch.beat(replace(worker.said(), slots=2, claims=True))).orders) == []
    assert (await store.jobs.get(job.job_id)).state is JobState.QUEUED
