"""What runners are told, how they arrive there, and how they go."""

from __future__ import annotations

from dataclasses import replace

import pytest
from store_house import MovingClock, create, make_runner, make_worker, register

from runner_service.domain.dispatch import Action, Want
from runner_service.domain.errors import RunnerBusy, RunnerNotFound
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import RUNNER_LABEL, JobState, Micros
from runner_service.domain.outcomes import OutcomeKind
from runner_service.domain.runner_health import Check, HealthReport
from runner_service.domain.runners import (
    Load,
    Runner,
    RunnerKind,
    RunnerProfile,
    RunnerState,
    Told,
    runner_transition,
)
from runner_service.ports.store import Changed, RunnerChange, RunnerFilter
from runner_service.store import SqlStore

SILENCE = 90.0


def moving(to: RunnerState, told: Told) -> RunnerChange:
    def change(runner: Runner, profile: RunnerProfile, now: Micros, active: int) -> Changed:
        return Changed(runner=runner_transition(runner, to, at=now, told=told), profile=profile, reason="asked")

    return change


async def states(store: SqlStore) -> list[tuple[str, str]]:
    return [
        (event.old_state or "", event.state or "")
        for event in await store.runners.events(after=0, limit=100)
        if event.kind == "state"
    ]


async def test_a_hosted_runner_gets_its_jobs_through_whoever_hosts_and_no_more_than_its_share(store: SqlStore) -> None:
    host = await make_worker(store, local=True, kind=RunnerKind.LOCAL)
    hosted = await register(store, make_runner(hosted=True, most_jobs=2, slots=1))
    for _ in range(4):
        await create(store, spec={"required_labels": {RUNNER_LABEL: hosted.runner_id}})
    want = Want(runner_id=host.runner_id, labels={RUNNER_LABEL: host.runner_id}, count=9)
    assert await store.dispatch.claim([want]) == []
    hosting = replace(want, hosts=True)
    assert len(await store.dispatch.claim([hosting])) == 2
    assert await store.dispatch.claim([hosting]) == []
    assert (await store.runners.tallies([hosted.runner_id]))[hosted.runner_id].queued == 2
    assert (await store.runners.tallies([hosted.runner_id]))[hosted.runner_id].active == 2
    assert (await store.runners.tallies([host.runner_id]))[host.runner_id].active == 0


async def test_a_bound_job_goes_to_no_other_runner(store: SqlStore) -> None:
    mine, other = await make_worker(store), await make_worker(store)
    await create(store, spec={"required_labels": {RUNNER_LABEL: mine.runner_id}})
    for worker in (mine, other):
        worker.labels = {RUNNER_LABEL: worker.runner_id}
    assert await other.claim() == []
    assert len(await mine.claim()) == 1


async def test_nothing_is_claimed_for_a_hosted_runner_that_is_not_active(store: SqlStore) -> None:
    hosted = await register(store, make_runner(hosted=True, most_jobs=2))
    await store.runners.change(hosted.runner_id, moving(RunnerState.INACTIVE, Told(paused=True)))
    await create(store, spec={"required_labels": {RUNNER_LABEL: hosted.runner_id}})
    assert await store.dispatch.claim([Want(runner_id=new_id(), labels={}, count=9, hosts=True)]) == []


async def test_a_stop_lets_the_running_finish_and_the_queued_wait(store: SqlStore, clock: MovingClock) -> None:
    worker = await make_worker(store)
    worker.labels = {RUNNER_LABEL: worker.runner_id}
    for _ in range(2):
        await create(store, spec={"required_labels": {RUNNER_LABEL: worker.runner_id}})
    running = await worker.start()
    (offered,) = await worker.claim()
    told = Told(paused=True, cancel_at=clock.now() + 10_000_000, reason="night")
    await store.runners.change(worker.runner_id, moving(RunnerState.STOPPING, told))
    advance = await store.runners.advance(silence_seconds=SILENCE)
    assert advance.released == (offered.job.job_id,)
    assert (advance.moved, advance.overdue) == ((), ())
    clock.advance(11)
    assert (await store.runners.advance(silence_seconds=SILENCE)).overdue == (running.job_id,)
    await worker.report(running)
    # The worker has not said yet that it knows.
    assert (await store.runners.advance(silence_seconds=SILENCE)).moved == ()
    runner, orders, *_ = await store.dispatch.beat(replace(worker.said(), paused=True))
    assert (runner.state, orders) == (RunnerState.INACTIVE, [])
    assert (await store.jobs.get(offered.job.job_id)).state is JobState.QUEUED
    assert await states(store) == [("ACTIVE", "STOPPING"), ("STOPPING", "INACTIVE")]


async def test_a_restart_is_over_when_another_worker_process_comes(store: SqlStore, clock: MovingClock) -> None:
    worker = await make_worker(store)
    told = Told(old_session=worker.session_id, settle_by=clock.now() + 60_000_000)
    await store.runners.change(worker.runner_id, moving(RunnerState.RESTARTING, told))
    runner, *_ = await store.dispatch.beat(worker.said())
    assert runner.state is RunnerState.RESTARTING
    worker.session_id, worker.number = new_id(), 0
    runner, *_ = await store.dispatch.beat(worker.said())
    assert (runner.state, runner.told) == (RunnerState.ACTIVE, Told())


async def test_who_does_not_come_in_time_is_an_error_until_it_comes(store: SqlStore, clock: MovingClock) -> None:
    worker = await make_worker(store)
    told = Told(old_session=worker.session_id, settle_by=clock.now() + 5_000_000)
    await store.runners.change(worker.runner_id, moving(RunnerState.RESTARTING, told))
    clock.advance(6)
    assert (await store.runners.advance(silence_seconds=SILENCE)).moved == (worker.runner_id,)
    assert (await store.runners.get(worker.runner_id)).state is RunnerState.ERROR
    await worker.beat()
    assert (await store.runners.get(worker.runner_id)).state is RunnerState.ACTIVE


async def test_silence_is_an_error_and_does_not_count_as_uptime(store: SqlStore, clock: MovingClock) -> None:
    worker = await make_worker(store)
    hosted = await register(store, make_runner(hosted=True))
    clock.advance(60)
    await worker.beat()
    clock.advance(91)
    assert (await store.runners.advance(silence_seconds=SILENCE)).moved == (worker.runner_id,)
    runner = await store.runners.get(worker.runner_id)
    assert (runner.state, runner.up_us) == (RunnerState.ERROR, 60_000_000)
    assert (await store.runners.get(hosted.runner_id)).state is RunnerState.ACTIVE
    assert (await store.runners.advance(silence_seconds=SILENCE)).moved == ()


async def test_what_it_was_told_outlives_an_error(store: SqlStore, clock: MovingClock) -> None:
    worker = await make_worker(store)
    await store.runners.change(worker.runner_id, moving(RunnerState.STOPPING, Told(paused=True)))
    clock.advance(200)
    await store.runners.advance(silence_seconds=SILENCE)
    # Its lease is over and it has no job: it has stopped, whether it knows or not.
    assert (await store.runners.get(worker.runner_id)).state is RunnerState.INACTIVE


async def test_a_worker_that_shows_the_credential_ends_the_hosting(store: SqlStore) -> None:
    worker = await make_worker(store, hosted=True)
    assert (await store.runners.get(worker.runner_id)).hosted is False


async def test_a_beat_brings_load_and_leaves_what_others_changed(store: SqlStore, clock: MovingClock) -> None:
    worker = await make_worker(store)
    await store.runners.change(
        worker.runner_id, lambda runner, profile, *_: Changed(runner=replace(runner, name="new"), profile=profile)
    )
    await store.dispatch.beat(replace(worker.said(), load=Load(cpu=1.5, memory=2, disk=3)))
    runner = await store.runners.get(worker.runner_id)
    assert (runner.name, runner.load) == ("new", Load(cpu=1.5, memory=2, disk=3, at=clock.now()))
    await worker.beat()
    assert (await store.runners.get(worker.runner_id)).load.cpu == 1.5


async def test_a_runner_with_jobs_is_deleted_by_force_alone(store: SqlStore) -> None:
    worker = await make_worker(store)
    worker.labels = {RUNNER_LABEL: worker.runner_id}
    spec = {"required_labels": {RUNNER_LABEL: worker.runner_id}}
    running, queued = await create(store, spec=spec), await create(store, spec=spec)
    attempt = await worker.start()
    with pytest.raises(RunnerBusy) as caught:
        await store.runners.delete(worker.runner_id, force=False, by="me")
    assert caught.value.metadata["active_jobs"] == "2"
    cancelled = await store.runners.delete(worker.runner_id, force=True, by="me")
    assert {job.job_id for job in cancelled} == {running.job_id, queued.job_id}
    for job in (running, queued):
        now = await store.jobs.get(job.job_id)
        assert now.state is JobState.CANCELLED
        assert now.outcome is not None and now.outcome.kind is OutcomeKind.CANCELLED
    for call in (store.runners.get, store.runners.profile):
        with pytest.raises(RunnerNotFound):
            await call(worker.runner_id)
    assert await store.runner_feed.last(worker.runner_id) == 0
    assert (await store.jobs.attempt(attempt.attempt_id)).finished_at is not None


async def test_a_forced_deletion_of_a_hosted_runner_leaves_its_job_to_the_hosts_worker(store: SqlStore) -> None:
    host = await make_worker(store, local=True)
    hosted = await register(store, make_runner(hosted=True, most_jobs=1))
    job = await create(store, spec={"required_labels": {RUNNER_LABEL: hosted.runner_id}})
    await store.dispatch.claim([Want(runner_id=host.runner_id, labels={}, count=1, hosts=True)])
    await host.beat()
    await host.beat()
    await store.runners.delete(hosted.runner_id, force=True, by="me")
    now = await store.jobs.get(job.job_id)
    assert (now.state, now.cancelling) == (JobState.RUNNING, True)
    (order,) = (await host.beat()).values()
    assert order.action is Action.CANCEL


async def test_statistics_count_what_ended_on_a_runner(store: SqlStore, clock: MovingClock) -> None:
    worker = await make_worker(store)
    worker.labels = {RUNNER_LABEL: worker.runner_id}
    for spec in ({}, {"required_labels": {RUNNER_LABEL: worker.runner_id}}):
        await create(store, spec=spec)
        attempt = await worker.start()
        clock.advance(4)
        await worker.report(attempt)
    found = await store.runners.statistics(worker.runner_id)
    assert (found.executed, found.succeeded, found.seconds) == (2, 2, 8.0)
    assert (await store.runners.statistics(worker.runner_id, since=clock.now())).executed == 1


async def test_runners_are_found_by_state_kind_and_tags_in_order_of_registration(
    store: SqlStore, clock: MovingClock
) -> None:
    made = []
    for number in range(6):
        clock.advance(1)
        runner = make_runner(kind=RunnerKind.DOCKER if number % 2 else RunnerKind.NATIVE, name=f"r{9 - number}")
        tags = ("all", f"n{number}", "odd" if number % 2 else "even")
        made.append(await register(store, runner, RunnerProfile(runner_id=runner.runner_id, tags=tags)))
    page = await store.runners.find(RunnerFilter(), limit=2, offset=1)
    assert ([one.name for one in page.runners], page.total) == (["r8", "r7"], 6)
    assert page.profiles[made[1].runner_id].tags == ("all", "n1", "odd")
    odd = await store.runners.find(RunnerFilter(kind=RunnerKind.DOCKER, tags=("all", "odd")), limit=0)
    assert odd.runners == tuple(made[1::2])
    assert (await store.runners.find(RunnerFilter(state=RunnerState.ERROR), limit=9)).total == 0


async def test_the_latest_check_is_kept(store: SqlStore, clock: MovingClock) -> None:
    runner = await register(store, make_runner())
    assert await store.runners.check(runner.runner_id) == (0, None)
    new = HealthReport(checks={"memory": Check(passed=True, available_gb=1.5)})
    await store.runners.save_check(runner.runner_id, 2, new)
    await store.runners.save_check(runner.runner_id, 1, HealthReport())
    assert await store.runners.check(runner.runner_id) == (2, replace(new, at=clock.now()))
