"""What a request does is done once, whichever server is asked again and wherever the first one died; on both stores."""

from __future__ import annotations

import asyncio

import pytest
from services_house import House

from runner_service.domain.agent_reports import NewReport, ReportStatus
from runner_service.domain.errors import (
    AlreadyExists,
    CredentialUntold,
    RunnerDeleted,
    RunnerError,
    RunnerUnavailable,
    SecretNotFound,
)
from runner_service.domain.jobs import JobState
from runner_service.domain.principals import Role
from runner_service.domain.runners import RunnerState
from runner_service.ports.store import AnswerKey, Mark, RunnerFilter
from runner_service.services.agent_reports import AgentReports
from runner_service.services.auth import ApiKeys, Auth
from runner_service.services.runners import NewRunner, Operation, RunnerCredentials, Runners
from runner_service.services.runners.batch import Options
from runner_service.services.sealing import Sealer

MARK = Mark(AnswerKey("ann", "/method", "r-1"), "this")
OTHER = MARK._replace(fingerprint="that")


async def test_a_runner_restarts_once_for_two_at_one_time_and_a_late_repeat(house: House) -> None:
    runner, _ = await house.runners.registry.register(NewRunner(name="one", hosted=True))

    async def restart(mark: Mark | None) -> None:
        await house.runners.control.restart(runner.runner_id, mark=mark)

    async def restarts() -> int:
        events = await house.store.runners.events(after=0, limit=100)
        return [event.state for event in events].count(RunnerState.RESTARTING)

    await asyncio.gather(restart(MARK), restart(MARK))
    assert await restarts() == 1
    house.clock.advance(5)
    await house.runners.control.sweep()
    await restart(MARK)
    assert await restarts() == 1
    with pytest.raises(AlreadyExists):
        await restart(OTHER)
    await restart(None)
    assert await restarts() == 2


async def test_what_failed_left_no_mark(house: House) -> None:
    runner, _ = await house.runners.registry.register(NewRunner(name="away"))
    with pytest.raises(RunnerUnavailable):
        await house.runners.control.restart(runner.runner_id, mark=MARK)
    assert await house.store.answers.find(MARK.key) is None


async def test_each_runner_of_a_batch_is_told_once(house: House) -> None:
    for name in ("one", "two"):
        await house.runners.registry.register(NewRunner(name=name, hosted=True))
    for _ in range(2):
        results = await house.runners.batch.operate(
            Operation.UPDATE_CONFIG, RunnerFilter(), Options(changes={"max_concurrent_jobs": 3}), mark=MARK
        )
        assert [result.error for result in results] == [None, None]
        await house.runners.registry.update_config(results[0].runner_id, {"max_concurrent_jobs": 4})
    profile = await house.store.runners.profile(results[0].runner_id)
    assert profile.config.max_concurrent_jobs == 4  # The repeat did not take it back.


@pytest.mark.parametrize("operation", [Operation.DELETE, Operation.STOP])
async def test_a_batch_that_is_repeated_is_about_the_runners_of_the_first_time(
    house: House, operation: Operation
) -> None:
    """What the filter finds is other by then: those that were operated on have another state, or are gone."""
    for name in ("one", "two"):
        await house.runners.registry.register(NewRunner(name=name, hosted=True))
    filter = RunnerFilter(state=RunnerState.ACTIVE)
    before = [one.runner_id for one in (await house.runners.registry.find(filter, limit=0)).runners]

    async def operate() -> list[tuple[str, RunnerError | None]]:
        results = await house.runners.batch.operate(operation, filter, Options(force=True), mark=MARK)
        return [(one.runner_id, one.error) for one in results]

    first = await operate()
    assert first == [(runner_id, None) for runner_id in before]
    await house.runners.registry.register(NewRunner(name="three", hosted=True))
    if operation is Operation.STOP:
        await house.runners.registry.delete(before[0], force=True)
    assert await operate() == first
    assert len((await house.runners.registry.find(filter, limit=0)).runners) == 1


async def test_a_deleted_runner_is_deleted_again_with_the_same_jobs(house: House) -> None:
    runner, _ = await house.runners.registry.register(NewRunner(name="one", hosted=True))
    job = await house.job(required_labels={"runner_id": runner.runner_id})
    for _ in range(2):
        cancelled = await house.runners.registry.delete(runner.runner_id, force=True, mark=MARK)
        assert [(one.job_id, one.state) for one in cancelled] == [(job.job_id, JobState.CANCELLED)]
    with pytest.raises(RunnerDeleted):
        await house.runners.registry.delete(runner.runner_id, force=True)


async def test_a_registration_said_again_is_the_same_runner_with_the_same_credential(house: House) -> None:
    register = house.runners.registry.register
    made = await asyncio.gather(*(register(NewRunner(name="one"), mark=MARK) for _ in range(3)))
    assert len({(runner.runner_id, credential) for runner, credential in made}) == 1
    assert len(await house.runners.registry.list(limit=10)) == 1
    with pytest.raises(AlreadyExists):
        await register(NewRunner(name="two"), mark=OTHER)
    elsewhere = Runners(
        store=house.store.runners,
        clock=house.clock,
        signals=house.store.signals,
        credentials=RunnerCredentials(store=house.store.worker_credentials, sealer=Sealer(b"\1" * 32)),
    )
    with pytest.raises(CredentialUntold):
        await elsewhere.register(NewRunner(name="one"), mark=MARK)
    await house.runners.registry.delete(made[0][0].runner_id, force=False)
    with pytest.raises(RunnerDeleted):
        await register(NewRunner(name="one"), mark=MARK)
    assert (await register(NewRunner(name="one")))[1] != (await register(NewRunner(name="one")))[1]


async def test_a_key_is_made_once_and_told_again_and_the_store_cannot_tell_it(house: House) -> None:
    auth = Auth(keys=[], workers=house.store.worker_credentials, issued=house.store.api_keys, clock=house.clock)
    keys = ApiKeys(store=house.store.api_keys, auth=auth, clock=house.clock, sealer=Sealer(bytes(32)))

    async def create(mark: Mark | None) -> tuple[str, str]:
        kept, key = await keys.create(name="ci", role=Role.VIEWER, created_by="ann", mark=mark)
        return kept.key_id, key

    made = await asyncio.gather(*(create(MARK) for _ in range(3)))
    assert len(set(made)) == 1
    assert len(await keys.list(limit=10)) == 1
    assert (await create(None))[1] != (await create(None))[1]
    with pytest.raises(AlreadyExists):
        await create(OTHER)
    elsewhere = ApiKeys(store=house.store.api_keys, auth=auth, clock=house.clock, sealer=Sealer(b"\1" * 32))
    with pytest.raises(CredentialUntold):
        await elsewhere.create(name="ci", role=Role.VIEWER, created_by="ann", mark=MARK)


async def test_a_secret_set_since_is_not_taken_back_by_a_repeat(house: House) -> None:
    first = await house.secrets.set("s", b"the first value", by="ann", mark=MARK)
    await house.secrets.set("s", b"the second value")
    assert await house.secrets.set("s", b"the first value", by="ann", mark=MARK) == first
    assert await house.secrets.reveal({"s"}) == {"s": b"the second value"}
    gone = MARK.part("gone")
    await house.secrets.delete("s", mark=gone)
    await house.secrets.set("s", b"the third value")
    await house.secrets.delete("s", mark=gone)
    assert await house.secrets.reveal({"s"}) == {"s": b"the third value"}
    await house.secrets.delete("s")
    with pytest.raises(SecretNotFound):
        await house.secrets.delete("s")


async def test_a_report_is_filed_once_and_answered_as_it_was(house: House) -> None:
    reports = AgentReports(
        store=house.store.agent_reports, signals=house.store.signals, clock=house.clock, keep_seconds=60
    )

    def new(at: int) -> NewReport:
        return NewReport(agent_id="a", topic="t", status=ReportStatus.RUNNING, reported_at=at)

    filed = await asyncio.gather(
        reports.report(new(1_000), mark=MARK), reports.report(new(2_000)), reports.report(new(3_000), mark=MARK)
    )
    assert filed[2] == filed[0]
    house.clock.advance(5)
    assert await reports.report(new(4_000), mark=MARK) == filed[0]
    assert len(await reports.history("a", limit=10)) == 2
    with pytest.raises(AlreadyExists):
        await reports.report(new(1_000), mark=OTHER)
