"""Registered machines."""

from __future__ import annotations

from dataclasses import replace

import pytest
from store_house import MovingClock, make_runner, make_worker, register

from runner_service.domain.errors import InvalidArgument, RunnerNotFound
from runner_service.domain.ids import new_id
from runner_service.domain.runners import RunnerState
from runner_service.ports.store import JobFilter, RunnerFilter
from runner_service.store import SqlStore


async def test_a_runner_comes_back_as_it_went_in_with_its_time(store: SqlStore, clock: MovingClock) -> None:
    asked = make_runner(labels={"os": "linux"}, slots=3, local=True, version="1", boot_id="b", session_id=new_id())
    runner = await register(store, asked)
    assert runner == replace(asked, registered_at=clock.now(), state_since=clock.now())
    assert await store.runners.get(runner.runner_id) == runner


async def test_registering_again_replaces_but_keeps_time_and_lease(store: SqlStore, clock: MovingClock) -> None:
    worker = await make_worker(store)
    before = await store.runners.get(worker.runner_id)
    clock.advance(5)
    asked = make_runner(runner_id=worker.runner_id, name="other", slots=9)
    after = await register(store, replace(asked, state=RunnerState.STARTING))
    assert await store.runners.get(worker.runner_id) == after
    assert (after.name, after.slots, after.state) == ("other", 9, "STARTING")
    assert after.registered_at == before.registered_at
    assert (after.lease_until, after.session_id) == (before.lease_until, before.session_id)


@pytest.mark.parametrize("runner_id", ["", "x", "\x00", "\ud800"])
async def test_an_unknown_runner_is_not_found(store: SqlStore, runner_id: str) -> None:
    with pytest.raises(RunnerNotFound):
        await store.runners.get(runner_id)


async def test_a_text_with_a_nul_is_refused_by_either_engine_and_changes_nothing(store: SqlStore) -> None:
    with pytest.raises(InvalidArgument, match="NUL"):
        await register(store, make_runner(name="a\0b"))
    worker = await make_worker(store)
    before = await store.runners.get(worker.runner_id)
    with pytest.raises(InvalidArgument, match="NUL"):
        await register(store, make_runner(runner_id=worker.runner_id, name="a\0b"))
    assert [runner.name for runner in await store.runners.list(limit=0)] == [before.name]
    with pytest.raises(InvalidArgument, match="NUL"):
        await store.runners.find(RunnerFilter(tags=("a\0b",)), limit=1)
    with pytest.raises(InvalidArgument, match="NUL"):
        await store.jobs.list(JobFilter(runner_id="a\0b"), limit=1)


async def test_runners_come_by_name_then_id_in_pages(store: SqlStore) -> None:
    made = [await register(store, make_runner(name=name)) for name in ("b", "a", "b", "B", "c")]
    expected = sorted(made, key=lambda runner: (runner.name, runner.runner_id))
    assert list(await store.runners.list(limit=0)) == expected
    found: list[str] = []
    while page := await store.runners.list(limit=2, after=found[-1] if found else ""):
        found += [runner.runner_id for runner in page]
    assert found == [runner.runner_id for runner in expected]
    with pytest.raises(InvalidArgument):
        await store.runners.list(limit=2, after=new_id())
