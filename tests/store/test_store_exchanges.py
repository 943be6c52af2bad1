"""What goes along with reports: confirmations and claims, and how beats bear with them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from store_house import Worker, create, make_worker

from runner_service.domain.dispatch import Action, Listed, Order, Phase, Verdict
from runner_service.domain.errors import AttemptNotFound
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import Attempt, AttemptState, JobState
from runner_service.store import SqlStore


async def _offered(store: SqlStore) -> tuple[Worker, Attempt]:
    worker = await make_worker(store)
    await create(store)
    (given,) = await worker.claim()
    return worker, given.attempt


async def test_what_is_held_is_confirmed_and_said_again_when_the_answer_was_lost(store: SqlStore) -> None:
    worker, attempt = await _offered(store)
    for moved in (1, 0):
        answer = await store.dispatch.report([], along=worker.along(attempt))
        assert [(order.action, order.attempt_id) for order in answer.orders] == [(Action.RUN, attempt.attempt_id)]
        assert len(answer.moved) == moved
    job = await store.jobs.get(attempt.job_id)
    assert (job.state, job.attempts) == (JobState.RUNNING, 1)


async def test_nothing_is_confirmed_before_the_last_sync_was_taken(store: SqlStore) -> None:
    worker, attempt = await _offered(store)
    late = worker.said()  # It was sent before the report, and lists nothing of what the report holds.
    answer = await store.dispatch.report([], along=worker.along(attempt))
    assert (list(answer.orders), list(answer.moved)) == ([], [])
    assert (await store.jobs.get(attempt.job_id)).state is JobState.ASSIGNED
    orders = (await store.dispatch.beat(late)).orders
    assert [order.action for order in orders] == [Action.OFFER], "so it takes nothing for lost"
    answer = await store.dispatch.report([], along=worker.along(attempt))
    assert [order.action for order in answer.orders] == [Action.RUN]


async def test_a_session_that_is_over_confirms_and_claims_nothing(store: SqlStore) -> None:
    worker, attempt = await _offered(store)
    await create(store)
    along = worker.along(attempt, count=1)
    later = Worker(store, await store.runners.get(worker.runner_id))
    await later.beat()
    answer = await store.dispatch.report([], along=along)
    assert (list(answer.orders), list(answer.moved)) == ([], [])


async def test_what_is_not_the_workers_any_more_is_to_be_forgotten(store: SqlStore) -> None:
    worker, attempt = await _offered(store)
    _, theirs = await _offered(store)
    unknown = replace(attempt, attempt_id=new_id())
    along = worker.along(replace(attempt, fence=9), unknown, theirs)
    answer = await store.dispatch.report([], along=along)
    assert [order.action for order in answer.orders] == [Action.FORGET] * 3
    assert (await store.jobs.get(attempt.job_id)).state is JobState.ASSIGNED
    assert (await store.jobs.get(theirs.job_id)).state is JobState.ASSIGNED


@pytest.mark.parametrize("changes_only", [False, True])
async def test_a_sync_that_looks_again_passes_over_what_was_confirmed_since(
    store: SqlStore, changes_only: bool
) -> None:
    worker = await make_worker(store)
    parked = replace(worker.said(), changes_only=changes_only)
    await store.dispatch.beat(parked)
    await create(store)
    (given,) = await worker.claim()
    await store.dispatch.report([], along=worker.along(given.attempt))
    answer = await store.dispatch.beat(parked)
    assert (list(answer.orders), list(answer.moved)) == ([], [])
    assert answer.active == {worker.runner_id: 1}
    # A cancel reaches it all the same.
    await store.jobs.cancel(given.job.job_id, by="ann", reason="")
    assert [order.action for order in (await store.dispatch.beat(parked)).orders] == [Action.CANCEL]
    # The next list must show it.
    answer = await store.dispatch.beat(worker.said())
    assert [moved.job.state for moved in answer.moved] == [JobState.CANCELLED]


async def test_the_next_list_that_shows_it_keeps_it(store: SqlStore) -> None:
    worker, attempt = await _offered(store)
    await store.dispatch.report([], along=worker.along(attempt))
    held = Listed(attempt_id=attempt.attempt_id, fence=attempt.fence, phase=Phase.HELD)
    answer = await store.dispatch.beat(replace(worker.said(), listed=(held,), changes_only=True))
    assert [order.action for order in answer.orders] == [Action.RUN]


async def _started(store: SqlStore, number: int) -> tuple[Worker, Order]:
    worker = await make_worker(store)
    await create(store)
    (order,) = (await store.dispatch.report([], along=worker.along(count=1, number=number))).orders
    return worker, order


async def test_what_comes_with_a_numbered_report_is_to_be_started_at_once(store: SqlStore) -> None:
    worker, order = await _started(store, number=1)
    assert order.action is Action.START and order.job is not None
    job, attempt = await store.jobs.get(order.job.job_id), await store.jobs.attempt(order.attempt_id)
    assert (job.state, job.attempts, attempt.state) == (JobState.RUNNING, 1, AttemptState.RUNNING)
    assert job.started_at == attempt.started_at == attempt.assigned_at
    events = await store.jobs.events(after=0, limit=10, job_id=job.job_id)
    assert [event.kind for event in events] == ["created", "assigned", "running"]
    again = await store.dispatch.report([], along=worker.along(count=1, number=2))
    assert list(again.orders) == [], "it is said once"
    assert await worker.report(attempt) is Verdict.ACCEPTED


@pytest.mark.parametrize("changes_only", [False, True])
async def test_what_an_answer_may_still_bring_is_for_a_later_list_to_show(store: SqlStore, changes_only: bool) -> None:
    worker, order = await _started(store, number=2)
    early = replace(worker.said(), reports_heard=1, changes_only=changes_only)
    answer = await store.dispatch.beat(early)
    assert (list(answer.orders), list(answer.moved)) == ([], [])
    assert answer.active == {worker.runner_id: 1}
    late = replace(worker.said(), reports_heard=2, changes_only=changes_only)
    (moved,) = (await store.dispatch.beat(late)).moved
    assert (moved.job.state, moved.job.attempts, moved.job.started_at) == (JobState.QUEUED, 0, None)
    with pytest.raises(AttemptNotFound):
        await store.jobs.attempt(order.attempt_id)


@pytest.mark.parametrize("changes_only", [False, True])
async def test_what_a_list_has_shown_is_not_taken_for_never_started(store: SqlStore, changes_only: bool) -> None:
    worker, order = await _started(store, number=1)
    listed = (Listed(attempt_id=order.attempt_id, fence=order.fence),)
    shows = replace(worker.said(), reports_heard=1, listed=listed, changes_only=changes_only)
    assert not (await store.dispatch.beat(shows)).moved
    (moved,) = (await store.dispatch.beat(replace(worker.said(), reports_heard=1, changes_only=changes_only))).moved
    assert (moved.job.state, moved.job.outcome and moved.job.outcome.detail) == (JobState.LOST, "runner_forgot")


async def test_a_cancel_of_what_never_arrived_ends_it(store: SqlStore) -> None:
    worker, order = await _started(store, number=1)
    assert order.job is not None
    await store.jobs.cancel(order.job.job_id, by="ann", reason="")
    (moved,) = (await store.dispatch.beat(replace(worker.said(), reports_heard=1))).moved
    assert moved.job.state is JobState.CANCELLED


async def test_a_later_session_knows_nothing_of_what_the_one_before_has_heard(store: SqlStore) -> None:
    worker, order = await _started(store, number=7)
    assert order.job is not None
    later = Worker(store, await store.runners.get(worker.runner_id))
    (moved,) = (await store.dispatch.beat(later.said())).moved
    assert moved.job.state is JobState.LOST, "without a spool nobody knows whether it ran"
