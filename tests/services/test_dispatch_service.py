"""DESIGN.md §5 over the real store: what a worker is told, and what becomes of replies that are lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from services_house import DONE, FAILED, SOON, House, Worker, parked

from runner_service.domain.dispatch import Action, DispatchTimes, Phase, Verdict
from runner_service.domain.errors import JobFinished, RunnerNotFound, StaleSync, StaleWorker, Unavailable
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import JobKind, JobState, LossPolicy, Step
from runner_service.domain.requests import NewJob


async def _actions(worker: Worker) -> list[Action]:
    return [order.action for order in await worker.sync()]


async def test_a_job_is_offered_confirmed_run_and_reported(house: House) -> None:
    worker, job = await house.worker(), await house.job()
    (offer,) = await worker.sync()
    assert offer.action is Action.OFFER
    assert offer.job is not None
    assert offer.job.job_id == job.job_id
    assert (await house.jobs.get(job.job_id)).state is JobState.ASSIGNED
    (run,) = await worker.sync()
    assert (run.action, run.attempt_id, run.fence) == (Action.RUN, offer.attempt_id, offer.fence)
    assert (await house.jobs.get(job.job_id)).state is JobState.RUNNING
    waiting = asyncio.create_task(house.jobs.wait(job.job_id, seconds=SOON))
    await worker.finish(offer.attempt_id)
    ended = await asyncio.wait_for(waiting, SOON)
    assert (ended.state, ended.outcome, ended.attempts) == (JobState.SUCCEEDED, DONE, 1)


async def test_a_lost_offer_comes_again_and_nothing_starts_before(house: House) -> None:
    worker, job = await house.worker(), await house.job()
    lost = await asyncio.wait_for(worker.call(), SOON)
    (offer,) = await worker.sync()
    assert (offer.action, offer.attempt_id) == (Action.OFFER, lost.orders[0].attempt_id)
    assert (await house.jobs.get(job.job_id)).state is JobState.ASSIGNED


async def test_a_lost_run_comes_again_and_counts_once(house: House) -> None:
    worker, job = await house.worker(), await house.job()
    await worker.sync()
    lost = await asyncio.wait_for(worker.call(), SOON)
    assert [order.action for order in lost.orders] == [Action.RUN]
    assert await _actions(worker) == [Action.RUN]
    assert (await house.jobs.get(job.job_id)).attempts == 1


async def test_a_lost_answer_to_a_report_is_asked_for_again(house: House) -> None:
    worker, job = await house.worker(), await house.job()
    attempt_id = await worker.start()
    assert await worker.report(attempt_id) is Verdict.ACCEPTED
    assert await worker.report(attempt_id, FAILED) is Verdict.ACCEPTED
    assert (await house.jobs.get(job.job_id)).outcome == DONE, "terminal is final"
    worker.held[attempt_id] = (worker.held[attempt_id][0], Phase.ENDED)
    assert await _actions(worker) == [Action.FORGET]


async def test_a_worker_that_does_not_know_an_attempt_any_more_has_lost_it(house: House) -> None:
    worker, job = await house.worker(), await house.job()
    await worker.start()
    worker.held.clear()
    call = worker.call()
    ended = await house.jobs.wait(job.job_id, seconds=SOON)
    assert ended.state is JobState.LOST
    assert ended.outcome is not None
    assert ended.outcome.detail == "runner_forgot"
    call.cancel()


async def test_a_new_sync_supersedes_the_parked_one(house: House) -> None:
    worker = await house.worker()
    first = worker.call()
    assert await parked(first)
    second = worker.call()
    with pytest.raises(StaleSync):
        await asyncio.wait_for(first, SOON)
    job = await house.job()
    answer = await asyncio.wait_for(second, SOON)
    assert [order.job.job_id for order in answer.orders if order.job] == [job.job_id]


async def test_a_sync_that_arrives_late_changes_nothing(house: House) -> None:
    worker, job = await house.worker(), await house.job()
    await worker.start()
    attempts, worker.held = worker.held, {}
    with pytest.raises(StaleSync):
        # It was sent before the attempt was listed, and so does not list it.
        await asyncio.wait_for(worker.call(number=1), SOON)
    worker.held = attempts
    assert (await house.jobs.get(job.job_id)).state is JobState.RUNNING


async def test_an_older_worker_with_the_same_identity_is_refused(house: House) -> None:
    older = await house.worker()
    newer = Worker(house, older.runner, session_id=new_id())
    call = newer.call()
    assert await parked(call)
    with pytest.raises(StaleWorker):
        await asyncio.wait_for(older.call(), SOON)
    call.cancel()


async def test_an_unknown_runner_must_register(house: House) -> None:
    worker = await house.worker()
    stranger = Worker(house, replace(worker.runner, runner_id=new_id()))
    with pytest.raises(RunnerNotFound):
        await asyncio.wait_for(stranger.call(), SOON)


async def test_a_sync_that_brings_the_memory_of_agents_is_not_held_for_long(house: House) -> None:
    house.dispatch.times = DispatchTimes(park_idle=1000.0, park_busy=1000.0, park_measured=0.01)
    worker = await house.worker()
    await house.job()
    attempt_id = await worker.start()
    call = worker.call()
    assert await parked(call)
    beat = worker.beat()
    measured = tuple(replace(one, measured=True) for one in beat.listed)
    answer = await asyncio.wait_for(house.dispatch.sync(replace(beat, listed=measured)), SOON)
    assert [(order.action, order.attempt_id) for order in answer.orders] == [(Action.RUN, attempt_id)]
    with pytest.raises(StaleSync):
        await call


async def test_a_parked_sync_wakes_for_the_queue(house: House) -> None:
    worker = await house.worker()
    call = worker.call()
    assert await parked(call)
    await house.job()
    answer = await asyncio.wait_for(call, SOON)
    assert [order.action for order in answer.orders] == [Action.OFFER]
    assert answer.parked_seconds >= 0


async def test_a_parked_sync_wakes_for_a_cancel_and_repeats_it(house: House) -> None:
    worker, job = await house.worker(), await house.job()
    attempt_id = await worker.start()
    call = worker.call()
    assert await parked(call)
    await house.jobs.cancel(job.job_id, by="ann", reason="enough")
    answer = await asyncio.wait_for(call, SOON)
    (order,) = answer.orders
    assert order.action is Action.CANCEL
    assert order.cancel is not None
    assert (order.cancel.by, order.cancel.reason) == ("ann", "enough")
    # The reply was lost: it is still what the server wants.
    assert await _actions(worker) == [Action.CANCEL]
    # A process that succeeds all the same changes nothing.
    await worker.finish(attempt_id, DONE)
    ended = await house.jobs.get(job.job_id)
    assert ended.state is JobState.CANCELLED
    with pytest.raises(JobFinished):
        await house.jobs.cancel(job.job_id, by="ann")


async def test_a_cancel_of_what_is_not_confirmed_takes_it_back(house: House) -> None:
    worker, job = await house.worker(), await house.job()
    await worker.sync()
    await house.jobs.cancel(job.job_id, by="ann")
    assert (await house.jobs.get(job.job_id)).state is JobState.CANCELLED
    assert await _actions(worker) == [Action.FORGET]


async def test_a_report_alone_wakes_the_parked_sync_for_more_work(house: House) -> None:
    worker = await house.worker(slots=1)
    first, second = await house.job(), await house.job()
    attempt_id = await worker.start()
    call = worker.call()
    assert await parked(call), "there is no room for the second"
    assert await worker.report(attempt_id) is Verdict.ACCEPTED
    answer = await asyncio.wait_for(call, SOON)
    assert [(order.action, order.job.job_id) for order in answer.orders if order.job] == [(Action.OFFER, second.job_id)]
    assert (await house.jobs.get(first.job_id)).state is JobState.SUCCEEDED


async def test_reports_bring_the_next_jobs_and_confirm_them_while_the_sync_is_parked(house: House) -> None:
    worker = await house.worker(slots=2)
    worker.changes_only = True
    jobs = [await house.job() for _ in range(4)]
    first, second = [order.attempt_id for order in await worker.sync()]
    assert await _actions(worker) == [Action.RUN, Action.RUN]
    call = worker.call()
    assert await parked(call)
    (third,) = await worker.exchange(first)
    assert (third.action, third.job and third.job.job_id) == (Action.OFFER, jobs[2].job_id)
    (run,) = await worker.exchange(held=[third])
    assert (run.action, run.attempt_id) == (Action.RUN, third.attempt_id)
    assert (await house.jobs.get(jobs[2].job_id)).state is JobState.RUNNING
    (fourth,) = await worker.exchange(second)
    assert fourth.job and fourth.job.job_id == jobs[3].job_id
    fifth = await house.job()
    assert await parked(call), "both slots are taken by what its list does not show"
    # It is told of what it took since, too.
    await house.jobs.cancel(jobs[2].job_id, by="ann")
    answer = await asyncio.wait_for(call, SOON)
    orders = {order.attempt_id: order.action for order in answer.orders}
    assert orders[third.attempt_id] is Action.CANCEL
    assert (await house.jobs.get(fifth.job_id)).state is JobState.QUEUED


async def test_a_command_can_be_waited_for_as_it_is_made(house: House) -> None:
    worker = await house.worker()
    creating = asyncio.create_task(
        house.jobs.create(NewJob(kind=JobKind.JOB, steps=(Step(argv=("true",)),)), wait_seconds=SOON)
    )
    attempt_id = await worker.start()
    assert await parked(creating)
    await worker.finish(attempt_id)
    ended = await asyncio.wait_for(creating, SOON)
    assert (ended.state, ended.outcome) == (JobState.SUCCEEDED, DONE)
    assert ended == await house.jobs.get(ended.job_id)


async def test_whoever_waits_learns_of_a_cancel_and_of_a_loss(house: House) -> None:
    worker = await house.worker()
    cancelled, lost = await house.job(priority=1), await house.job()
    waiting = [asyncio.create_task(house.jobs.wait(job.job_id, seconds=SOON)) for job in (cancelled, lost)]
    assert await parked(waiting[0])
    await house.jobs.cancel(cancelled.job_id, by="ann")
    assert (await asyncio.wait_for(waiting[0], SOON)).state is JobState.CANCELLED
    await worker.start()
    worker.held.clear()
    call = worker.call()
    assert (await asyncio.wait_for(waiting[1], SOON)).state is JobState.LOST
    call.cancel()


async def test_a_worker_that_knows_its_orders_is_told_changes_and_keeps_its_slots(house: House) -> None:
    worker = await house.worker(slots=2)
    worker.changes_only = True
    jobs = [await house.job() for _ in range(4)]
    first, second = [order.attempt_id for order in await worker.sync()]
    assert await _actions(worker) == [Action.RUN, Action.RUN]
    call = worker.call()
    assert await parked(call), "there is no room for the third"
    assert await worker.report(first) is Verdict.ACCEPTED
    answer = await asyncio.wait_for(call, SOON)
    assert [order.job.job_id for order in answer.orders if order.job] == [jobs[2].job_id]
    del worker.held[first]
    worker.apply(answer)
    assert await _actions(worker) == [Action.RUN]
    call = worker.call()
    assert await parked(call), "there is no room for the fourth"
    await house.jobs.cancel(jobs[1].job_id, by="ann")
    answer = await asyncio.wait_for(call, SOON)
    assert [(order.action, order.attempt_id) for order in answer.orders] == [(Action.CANCEL, second)]


async def test_slots_are_respected_and_priority_comes_first(house: House) -> None:
    worker = await house.worker(slots=3)
    jobs = [await house.job(priority=priority) for priority in (0, 0, 7, 0, 7)]
    orders = await worker.sync()
    assert [order.job.job_id for order in orders if order.job] == [jobs[index].job_id for index in (2, 4, 0)]
    await worker.sync()
    call = worker.call()
    assert await parked(call)
    call.cancel()


async def test_what_has_ended_holds_no_slot(house: House) -> None:
    worker = await house.worker(slots=1)
    await house.job()
    second = await house.job()
    attempt_id = await worker.start()
    worker.held[attempt_id] = (worker.held[attempt_id][0], Phase.ENDED)
    orders = await worker.sync()
    assert second.job_id in [order.job.job_id for order in orders if order.action is Action.OFFER and order.job]


async def test_no_slots_means_no_work(house: House) -> None:
    from dataclasses import replace

    worker = await house.worker()
    worker.runner = replace(worker.runner, slots=0)
    await house.job()
    call = worker.call()
    assert await parked(call)
    call.cancel()


async def test_labels_decide_who_gets_a_job(house: House) -> None:
    plain, special = await house.worker(), await house.worker(gpu="big")
    job = await house.job(required_labels={"gpu": "big"})
    call = plain.call()
    assert await parked(call)
    (order,) = await special.sync()
    assert order.job is not None
    assert order.job.job_id == job.job_id
    call.cancel()


async def test_many_parked_workers_share_the_queue(house: House) -> None:
    workers = [await house.worker() for _ in range(8)]
    calls = [worker.call() for worker in workers]
    assert all([await parked(call) for call in calls[-1:]])
    jobs = [await house.job() for _ in range(8)]
    answers = await asyncio.wait_for(asyncio.gather(*calls), SOON)
    given = [order.job.job_id for answer in answers for order in answer.orders if order.job]
    assert sorted(given) == sorted(job.job_id for job in jobs)


async def test_an_unconfirmed_job_goes_back_at_no_cost_and_its_offer_is_void(house: House) -> None:
    worker, job = await house.worker(), await house.job()
    await worker.sync()
    house.clock.advance(20)
    assert await house.store.dispatch.release_unconfirmed(older_than_seconds=15) == [job.job_id]
    other = await house.worker()
    attempt_id = await other.start()
    assert attempt_id not in worker.held
    assert Action.RUN not in await _actions(worker), "one execution is enough"
    await other.finish(attempt_id)
    assert (await house.jobs.get(job.job_id)).attempts == 1


async def test_a_lost_idempotent_job_runs_again_once_the_first_must_be_dead(house: House) -> None:
    worker = await house.worker()
    job = await house.job(idempotent=True, loss_policy=LossPolicy.RETRY, max_attempts=2)
    await worker.start()
    expire = house.store.dispatch.expire_leases
    house.clock.advance(35)
    assert await expire(kill_budget_seconds=10) == []
    house.clock.advance(10)
    assert await expire(kill_budget_seconds=10) == [job.job_id]
    other = await house.worker()
    attempt_id = await other.start()
    assert Action.FORGET in await _actions(worker), "the first comes back and is told"
    await other.finish(attempt_id)
    assert (await house.jobs.get(job.job_id)).state is JobState.SUCCEEDED


async def test_followed_attempts_are_named(house: House) -> None:
    worker, job = await house.worker(), await house.job()
    attempt_id = await worker.start()
    reading = house.reader.read(job.job_id, follow=True)
    first = asyncio.ensure_future(anext(reading))  # type: ignore[arg-type]
    assert await parked(first)  # type: ignore[arg-type]
    assert house.ingest.followed(attempt_id)
    house.dispatch.stop()
    answer = await asyncio.wait_for(worker.call(), SOON)
    assert answer.followed == [attempt_id]
    first.cancel()


async def test_a_follower_that_comes_wakes_the_parked_sync_once(house: House) -> None:
    worker = await house.worker()
    job = await house.job()
    attempt_id = await worker.start()
    call = worker.call()
    assert await parked(call)
    following = asyncio.create_task(anext(house.reader.read(job.job_id, follow=True)))
    answer = await asyncio.wait_for(call, SOON)
    assert answer.followed == [attempt_id]
    again = worker.call()
    assert await parked(again), "the worker knows by now"
    for task in (again, following):
        task.cancel()


async def test_stopping_lets_parked_calls_go_and_gives_no_more_work(house: House) -> None:
    worker = await house.worker()
    call = worker.call()
    assert await parked(call)
    house.claimer.stop()
    await house.job()
    assert await parked(call)
    house.jobs.stop_accepting()
    with pytest.raises(Unavailable):
        await house.job()
    house.dispatch.stop()
    answer = await asyncio.wait_for(call, SOON)
    assert list(answer.orders) == []
    assert (await asyncio.wait_for(worker.call(), SOON)).orders == []


async def test_a_retry_waits_for_its_delay(house: House) -> None:
    worker, job = await house.worker(), await house.job(max_attempts=2, retry_delay_seconds=30)
    await worker.finish(await worker.start(), FAILED)
    assert (await house.jobs.get(job.job_id)).state is JobState.QUEUED
    call = worker.call()
    assert await parked(call)
    house.clock.advance(31)
    # No hint comes for a delay that ends: the claimer looks by itself.
    worker.apply(await asyncio.wait_for(call, SOON))
    await worker.sync()
    assert (await house.jobs.get(job.job_id)).attempts == 2
