"""Runners as services see them: control, status, feeds and metrics, with a worker that does as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from services_house import DONE, FAILED, SOON, House, Worker

from runner_service.domain.dispatch import Action
from runner_service.domain.errors import InvalidArgument, JobNotFound, RunnerNotFound, RunnerUnavailable
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import RUNNER_LABEL, Job, JobState
from runner_service.domain.logs import LogStream
from runner_service.domain.metrics import Bucket
from runner_service.domain.runner_config import DockerConfig
from runner_service.domain.runner_feed import FeedEntry, FeedLevel
from runner_service.domain.runner_health import CONNECTIVITY, DOCKER, Check, Health
from runner_service.domain.runners import Load, Runner, RunnerKind, RunnerState
from runner_service.ports.store import RunnerFilter
from runner_service.services.dispatch import SyncAnswer
from runner_service.services.runners import FeedEnd, FeedQuery, NewRunner, Operation, RunnerUpdate
from runner_service.services.runners.batch import Options


async def hosted(house: House, **fields: Any) -> Runner:
    runner, _ = await house.runners.registry.register(NewRunner(name="curl", hosted=True, **fields))
    return runner


async def host(house: House) -> Worker:
    runner, _ = await house.runners.registry.register(NewRunner(name="local", local=True, slots=10))
    worker = Worker(house, runner)
    await house.store.dispatch.beat(replace(worker.beat(), load=Load(cpu=12.0, memory=34.0, disk=56.0)))
    return worker


async def bound(house: House, runner_id: str, **fields: Any) -> Job:
    return await house.job(required_labels={RUNNER_LABEL: runner_id}, **fields)


async def state(house: House, runner_id: str) -> RunnerState:
    return (await house.runners.registry.get(runner_id)).state


async def answer(worker: Worker, **said: Any) -> SyncAnswer:
    """A Sync that says more than usual, and what it brings."""
    call = worker.house.dispatch.sync(replace(worker.beat(), **said))
    found = await asyncio.wait_for(call, SOON)
    worker.apply(found)
    return found


async def test_a_hosted_runners_job_runs_on_the_local_worker_and_counts_for_the_hosted(house: House) -> None:
    worker, runner = await host(house), await hosted(house)
    job = await bound(house, runner.runner_id)
    attempt = await worker.start()
    view = await house.runners.status.view(runner.runner_id)
    assert (view.tally.active, view.load.cpu, view.reachable) == (1, 12.0, True)
    assert (await house.runners.status.view(worker.runner.runner_id)).tally.active == 0
    await worker.finish(attempt, DONE)
    assert (await house.jobs.get(job.job_id)).state is JobState.SUCCEEDED
    assert (await house.runners.status.statistics(runner.runner_id)).succeeded == 1
    assert (await house.runners.status.statistics(worker.runner.runner_id)).executed == 0


async def test_stop_of_a_hosted_runner_ends_its_jobs_and_keeps_its_queue(house: House) -> None:
    worker, runner = await host(house), await hosted(house)
    await house.runners.registry.update_config(runner.runner_id, {"max_concurrent_jobs": 1})
    running = await bound(house, runner.runner_id)
    queued = await bound(house, runner.runner_id)
    attempt = await worker.start()
    stopping = asyncio.create_task(house.runners.control.stop(runner.runner_id))
    (order,) = await worker.sync()
    assert order.action is Action.CANCEL
    await worker.finish(attempt, FAILED)
    assert (await asyncio.wait_for(stopping, SOON)).state is RunnerState.INACTIVE
    assert (await house.jobs.get(running.job_id)).state is JobState.CANCELLED
    assert (await house.jobs.get(queued.job_id)).state is JobState.QUEUED
    await house.runners.control.start(runner.runner_id)
    assert await state(house, runner.runner_id) is RunnerState.ACTIVE
    await worker.start()
    assert (await house.jobs.get(queued.job_id)).state is JobState.RUNNING


async def test_stop_without_jobs_goes_straight_to_inactive(house: House) -> None:
    runner = await hosted(house)
    events = house.runners.registry.watch(after=await house.store.runners.last_event())
    watching = asyncio.create_task(anext(aiter(events)))
    for _ in range(2):
        assert (await house.runners.control.stop(runner.runner_id)).state is RunnerState.INACTIVE
    event = await asyncio.wait_for(watching, SOON)
    assert (event.kind, event.old_state, event.state) == ("state", RunnerState.ACTIVE, RunnerState.INACTIVE)
    moves = [one for one in await house.store.runners.events(after=0, limit=99) if one.kind == "state"]
    assert len(moves) == 1


async def test_stop_and_start_wait_for_the_word_of_a_real_worker(house: House) -> None:
    worker = await house.worker()
    await house.store.dispatch.beat(worker.beat())
    stopping = asyncio.create_task(house.runners.control.stop(worker.runner.runner_id, graceful=True, timeout=5))
    assert (await answer(worker)).control.paused
    assert await state(house, worker.runner.runner_id) is RunnerState.STOPPING
    house.store.signals.publish(("runner/" + worker.runner.runner_id,))
    said = asyncio.create_task(house.dispatch.sync(replace(worker.beat(), paused=True)))
    assert (await asyncio.wait_for(stopping, SOON)).state is RunnerState.INACTIVE
    await house.runners.control.start(worker.runner.runner_id)
    assert not (await asyncio.wait_for(said, SOON)).control.paused
    parked = asyncio.create_task(house.dispatch.sync(worker.beat()))
    await wait_for(house, worker.runner.runner_id, RunnerState.ACTIVE)
    house.dispatch.stop()
    await parked


async def wait_for(house: House, runner_id: str, wanted: RunnerState) -> None:
    async with asyncio.timeout(SOON):
        while await state(house, runner_id) is not wanted:
            await asyncio.sleep(0.01)


async def test_a_restart_is_ordered_when_nothing_runs_any_more(house: House) -> None:
    worker = await house.worker()
    await bound(house, worker.runner.runner_id)
    attempt = await worker.start()
    await house.runners.control.restart(worker.runner.runner_id, graceful=True, timeout=60)
    parked = worker.call()
    await asyncio.sleep(0)
    await house.dispatch.report([])
    await worker.finish(attempt, DONE)
    house.store.signals.publish(("runner/" + worker.runner.runner_id,))
    parked.cancel()
    await asyncio.gather(parked, return_exceptions=True)
    assert (await answer(worker)).control.restart
    worker.session_id = new_id()
    house.dispatch.stop()
    assert not (await answer(worker)).control.restart
    assert await state(house, worker.runner.runner_id) is RunnerState.ACTIVE


async def test_a_worker_that_is_away_cannot_be_told(house: House) -> None:
    worker = await house.worker()
    for call in (house.runners.control.stop, house.runners.control.restart):
        with pytest.raises(RunnerUnavailable):
            await call(worker.runner.runner_id)
    with pytest.raises(RunnerNotFound):
        await house.runners.control.start(new_id())


async def test_a_stopped_local_runner_goes_on_executing_for_hosted_ones(house: House) -> None:
    worker, runner = await host(house), await hosted(house)
    told = asyncio.create_task(house.runners.control.stop(worker.runner.runner_id))
    assert (await answer(worker)).control.paused
    call = asyncio.create_task(house.dispatch.sync(replace(worker.beat(), paused=True)))
    assert (await asyncio.wait_for(told, SOON)).state is RunnerState.INACTIVE
    own, other = await house.job(), await bound(house, runner.runner_id)
    (order,) = (await asyncio.wait_for(call, SOON)).orders
    assert order.job is not None and order.job.job_id == other.job_id
    assert (await house.jobs.get(own.job_id)).state is JobState.QUEUED


async def test_configuration_is_applied_live(house: House) -> None:
    worker = await house.worker(slots=1)
    config = await house.runners.registry.update_config(
        worker.runner.runner_id, {"max_concurrent_jobs": 3, "resource_limits": {"memory_limit": "8Gi"}}
    )
    assert (config.max_concurrent_jobs, config.resource_limits.memory_limit) == (3, "8Gi")
    assert config.resource_limits.cpu_limit == "2000m"
    for _ in range(4):
        await house.job()
    assert len(await worker.sync()) == 3
    for changes in ({"nope": 1}, {"max_concurrent_jobs": 0}, {"job_timeout": "1"}, {"resource_limits": {"x": "1"}},
                    {"docker_config": {"volumes": ["nonsense"]}}, {"docker_config": {"network_mode": ""}}):  # fmt: skip
        with pytest.raises(InvalidArgument):
            await house.runners.registry.update_config(worker.runner.runner_id, changes)
    config = await house.runners.registry.update_config(
        worker.runner.runner_id, {"docker_config": {"privileged": True, "volumes": ["/a:/b"]}}
    )
    assert config.docker_config == DockerConfig(privileged=True, volumes=("/a:/b",))


async def test_an_update_merges_metadata_and_takes_a_limit_from_it(house: House) -> None:
    runner = await hosted(house, metadata='{"a": 1.10, "b": {"c": 2}, "max_concurrent_jobs": 7}')
    assert runner.most_jobs == 7
    update = RunnerUpdate(
        metadata='{"b": null, "d": "x", "registered_at": "never", "max_concurrent_jobs": 9}', tags=("t",)
    )
    after, profile = await house.runners.registry.update(runner.runner_id, update)
    assert (after.most_jobs, profile.tags) == (9, ("t",))
    assert profile.metadata == '{"a":1.10,"max_concurrent_jobs":9,"d":"x"}'


async def test_health_asks_the_worker_now(house: House) -> None:
    worker = await house.worker()
    runner, _ = await house.runners.registry.register(
        NewRunner(name="d", hosted=True, kind=RunnerKind.DOCKER, capabilities=("docker", "other"))
    )
    local = await host(house)
    checking = asyncio.create_task(house.runners.status.check(runner.runner_id))
    asked = (await answer(local)).control.check
    assert asked > 0
    found = {
        "memory": Check(passed=True, available_gb=3.0),
        DOCKER: Check(passed=False, message="none"),
        "x": Check(passed=True),
    }
    parked = asyncio.create_task(house.dispatch.sync(replace(local.beat(), check=asked, checks=found)))
    health = await asyncio.wait_for(checking, SOON)
    assert health.health is Health.DEGRADED
    assert set(health.checks) == {CONNECTIVITY, "memory", DOCKER}
    assert health.checks[CONNECTIVITY].response_ms is not None
    last = await house.runners.status.last(await house.runners.status.view(runner.runner_id))
    assert (last.health, last.capabilities) == (Health.DEGRADED, {"docker": False, "other": True})
    away = await house.runners.status.check(worker.runner.runner_id)
    assert (away.health, away.checks[CONNECTIVITY].passed) == (Health.UNHEALTHY, False)
    parked.cancel()
    await asyncio.gather(parked, return_exceptions=True)


async def test_samples_of_syncs_become_series_for_both_the_host_and_whom_it_hosts(house: House) -> None:
    worker, runner = await host(house), await hosted(house)
    await bound(house, runner.runner_id)
    await worker.start()
    for cpu in (10.0, 30.0):
        house.clock.advance(10)
        beat = replace(worker.beat(), load=Load(cpu=cpu, memory=50.0, disk=5.0))
        answer = await house.store.dispatch.beat(beat)
        await house.runners.monitor.heard(beat, answer)
    await house.runners.monitor.flush()
    own = await house.runners.metrics.query(worker.runner.runner_id, period=3600, resolution=60)
    theirs = await house.runners.metrics.query(runner.runner_id, period=3600, resolution=60)
    assert (own.cpu_average, own.cpu_most) == (theirs.cpu_average, theirs.cpu_most) == (20.0, 30.0)
    assert sum(point.value for point in own.active) == 0
    assert all(point.value == 1 for point in theirs.active) and theirs.active
    with pytest.raises(InvalidArgument):
        await house.runners.metrics.query(worker.runner.runner_id, period=31 * 86_400)


async def test_metrics_are_not_asked_for_past_samples_that_are_being_written(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await host(house)
    house.clock.advance(10)
    beat = replace(worker.beat(), load=Load(cpu=10.0, memory=50.0, disk=5.0))
    await house.runners.monitor.heard(beat, await house.store.dispatch.beat(beat))
    store, begun, released = house.store.samples, asyncio.Event(), asyncio.Event()
    add = store.add

    async def slowly(buckets: Sequence[Bucket]) -> None:
        begun.set()
        await released.wait()
        await add(buckets)

    monkeypatch.setattr(store, "add", slowly)
    writing = asyncio.create_task(house.runners.monitor.flush())
    await begun.wait()
    asking = asyncio.create_task(house.runners.metrics.query(worker.runner.runner_id, period=3600, resolution=60))
    for _ in range(10):  # in which it would have been answered
        await house.store.runners.get(worker.runner.runner_id)
    released.set()
    assert (await asking).cpu_average == 10.0
    await writing


async def test_a_page_of_a_feed_has_the_newest_in_order_and_counts_the_rest(house: House) -> None:
    worker = await house.worker()
    await bound(house, worker.runner.runner_id)
    attempt = await worker.start()
    await worker.write(attempt, b"one\ntwo\n", b"three")
    await worker.write(attempt, b"bad\n", first=2, stream=LogStream.STDERR)
    await worker.finish(attempt, FAILED)
    page = await house.runners.feeds.page(worker.runner.runner_id, FeedQuery(limit=3))
    assert [entry.text or entry.phrase for entry in page.entries if entry.level is not FeedLevel.DEBUG]
    full = await house.runners.feeds.page(worker.runner.runner_id, FeedQuery())
    assert (page.total, page.has_more, full.has_more) == (full.total, True, False)
    errors = await house.runners.feeds.page(worker.runner.runner_id, FeedQuery(level=FeedLevel.ERROR))
    assert sorted(entry.text or entry.phrase for entry in errors.entries) == ["Job failed", "bad"]
    assert errors.total == 2
    written = {entry.text for entry in full.entries if not entry.phrase}
    assert written == {"one", "two", "three", "bad"}
    nothing = await house.runners.feeds.page(worker.runner.runner_id, FeedQuery(since=house.clock.now() + 1))
    assert (nothing.entries, nothing.total) == ([], 0)


async def take(entries: AsyncIterator[FeedEntry | FeedEnd], count: int) -> list[FeedEntry]:
    found: list[FeedEntry] = []
    async with asyncio.timeout(SOON):
        async for entry in entries:
            assert isinstance(entry, FeedEntry)
            found.append(entry)
            if len(found) == count:
                break
    return found


async def test_a_follower_gets_history_and_what_comes_without_gap_or_repeat(house: House) -> None:
    worker = await house.worker()
    await bound(house, worker.runner.runner_id)
    attempt = await worker.start()
    await worker.write(attempt, b"early\n")
    entries = house.runners.feeds.follow(worker.runner.runner_id, FeedQuery())
    history = await take(entries, 4)
    following = asyncio.create_task(take(entries, 3))
    await asyncio.sleep(0)
    await worker.write(attempt, b"late\n", first=1)
    await worker.write(attempt, b"later\n", first=2)
    await worker.finish(attempt, DONE)
    live = await following
    assert [entry.number for entry in history + live] == list(range(1, 8))
    assert [entry.text or entry.phrase for entry in live] == ["late", "later", "Job completed"]
    resumed = house.runners.feeds.follow(worker.runner.runner_id, FeedQuery(), after=5)
    assert [entry.number for entry in await take(resumed, 2)] == [6, 7]


async def test_of_a_feed_the_part_of_one_job_can_be_read_and_ends_with_it(house: House) -> None:
    worker = await house.worker(slots=2)
    runner_id = worker.runner.runner_id
    first, one = await bound(house, runner_id), await worker.start()
    second, two = await bound(house, runner_id), await worker.start()
    await worker.write(one, b"mine\n")
    await worker.write(two, b"other\n")
    query = FeedQuery(job_id=first.job_id)
    page = await house.runners.feeds.page(runner_id, query)
    assert {entry.text or entry.phrase for entry in page.entries} == {"Job queued", "Job started", "mine"}
    assert (page.total, page.has_more) == (3, False)
    errors = FeedQuery(job_id=first.job_id, level=FeedLevel.ERROR)
    assert (await house.runners.feeds.page(runner_id, errors)).total == 0
    entries = house.runners.feeds.follow(runner_id, query)
    await take(entries, 3)
    rest = asyncio.create_task(anext(entries))
    await worker.finish(two, DONE)
    await worker.finish(one, DONE)
    last = await asyncio.wait_for(rest, SOON)
    assert isinstance(last, FeedEntry) and (last.phrase, last.job_id) == ("Job completed", first.job_id)
    assert await asyncio.wait_for(anext(entries), SOON) == FeedEnd(reason="job ended")
    other = await hosted(house)
    for asked in (FeedQuery(job_id=second.job_id), FeedQuery(job_id=new_id())):
        with pytest.raises(JobNotFound):
            await house.runners.feeds.page(other.runner_id, asked)


async def test_a_feed_ends_when_its_runner_goes_and_when_its_time_is_over(house: House) -> None:
    runner = await hosted(house)
    entries = house.runners.feeds.follow(runner.runner_id, FeedQuery())
    await take(entries, 1)
    ending = asyncio.create_task(anext(entries))
    await asyncio.sleep(0)
    await house.runners.registry.delete(runner.runner_id, force=False)
    assert isinstance(await asyncio.wait_for(ending, SOON), FeedEnd)
    other = await hosted(house)
    past = house.runners.feeds.follow(other.runner_id, FeedQuery(until=house.clock.now()))
    assert isinstance(await anext(past), FeedEnd)


async def test_a_batch_does_what_it_can(house: House) -> None:
    here = await hosted(house, tags=("a",))
    away = await house.worker()
    results = await house.runners.batch.operate(Operation.STOP, RunnerFilter(), Options())
    by_id = {result.runner_id: result.error for result in results}
    assert by_id[here.runner_id] is None
    assert isinstance(by_id[away.runner.runner_id], RunnerUnavailable)
    assert await house.runners.batch.operate(Operation.START, RunnerFilter(tags=("b",)), Options()) == []
    with pytest.raises(InvalidArgument):
        await house.runners.batch.operate(Operation.UPDATE_CONFIG, RunnerFilter(), Options(changes={"x": 1}))
