"""What a Sync costs while it is parked, and what goes on beside it."""

from __future__ import annotations

import asyncio

import pytest
from services_house import SOON, House, parked

from runner_service.domain.dispatch import Action
from runner_service.domain.jobs import JobState
from runner_service.ports.signals import QUEUE


async def test_a_parked_sync_looks_no_longer_at_what_is_over(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = await house.worker(slots=2)
    worker.changes_only = True
    for _ in range(12):
        await house.job()
    _, ended = [order.attempt_id for order in await worker.sync()]
    assert [order.action for order in await worker.sync()] == [Action.RUN, Action.RUN]
    call = worker.call()
    assert await parked(call)
    looked: list[str] = []
    signals = house.store.signals
    followed = signals.followed
    monkeypatch.setattr(signals, "followed", lambda topic: looked.append(topic) or followed(topic))
    for _ in range(10):
        (order,) = await worker.exchange(ended)
        await worker.exchange(held=[order])
        ended = order.attempt_id
        looked.clear()
        await asyncio.sleep(0)  # The parked call wakes.
    assert 0 < len(set(looked)) <= 3, "the two of its list, and the one that came last"
    call.cancel()


async def test_the_queue_is_watched_while_a_worker_has_room_and_no_longer(house: House) -> None:
    """By that a new job is known to be in a hurry, or to have the time to go along with a report."""
    worker = await house.worker(slots=1)
    call = worker.call()
    assert await parked(call)
    assert house.store.signals.followed(QUEUE)
    await house.job()
    worker.apply(await asyncio.wait_for(call, SOON))
    await worker.sync()
    assert await parked(worker.call())
    assert not house.store.signals.followed(QUEUE)


async def test_a_numbered_report_has_the_next_job_started_while_the_sync_is_parked(house: House) -> None:
    worker = await house.worker(slots=1)
    worker.changes_only = True
    jobs = [await house.job() for _ in range(3)]
    first = await worker.start()
    call = worker.call()
    assert await parked(call)
    for number, job in enumerate(jobs[1:], start=1):
        (order,) = await worker.exchange(first, number=number)
        assert (order.action, order.job and order.job.job_id) == (Action.START, job.job_id)
        assert (await house.jobs.get(job.job_id)).state is JobState.RUNNING
        first = order.attempt_id
    assert await parked(call), "its one slot is taken by what its list does not show"
    await house.jobs.cancel(jobs[2].job_id, by="ann")
    answer = await asyncio.wait_for(call, SOON)
    assert [(order.action, order.attempt_id) for order in answer.orders] == [(Action.CANCEL, first)]
