"""What goes along with reports: confirmations and claims, and how beats bear with them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from store_house import Worker, create, make_worker

from runner_service.domain.dispatch import Action, Listed, Phase
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import Attempt, JobState
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
