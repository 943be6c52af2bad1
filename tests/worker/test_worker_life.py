"""How a worker begins with what is there, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from worker_house import House

from runner.v1.dispatch_service_pb2 import HeldAttempt
from runner.v1.outcome_pb2 import Outcome
from runner_service.domain import outcomes
from runner_service.worker.executors.base import ExecutorUnavailable, FenceMismatch, KillCause, KnownAttempt
from runner_service.worker.executors.fake import FakeExecutor
from runner_service.worker.identity import WorkerAlive, local_worker_is_alive
from runner_service.worker.times import ExitCode

ENDING = HeldAttempt.PHASE_ENDING
RECORD = 65536


async def test_a_later_worker_adopts_what_runs_and_its_log_goes_on_at_the_right_byte(house: House) -> None:
    attempt = house.server.submit("fake", f"stdout*={5 * RECORD}", "hold", f"stderr*={5 * RECORD}", "hold", "exit=9")
    first = house.worker()
    await house.server.until(lambda: len(attempt.records) == 5)
    await house.crash(first)
    house.machine.release(attempt.attempt_id)
    house.worker()
    await house.server.until(lambda: len(attempt.records) == 10)
    house.machine.release(attempt.attempt_id)
    await house.finished(attempt)
    assert attempt.outcome is not None
    assert attempt.outcome.exit_code == 9
    assert attempt.complete
    assert attempt.streams == 2
    assert house.machine.starts == [attempt.attempt_id]


@pytest.mark.parametrize("size", [0, 10, 10 * RECORD])
async def test_what_ended_while_there_was_no_worker_is_reported_by_the_next(house: House, size: int) -> None:
    attempt = house.server.submit("fake", "stdout=begun", "hold", f"stdout*={size}", "signal=11")
    first = house.worker()
    await house.listed(attempt, HeldAttempt.PHASE_STARTED)
    await house.crash(first)
    house.machine.release(attempt.attempt_id)
    second = house.worker()
    await house.finished(attempt)
    assert attempt.outcome is not None
    assert (attempt.outcome.kind, attempt.outcome.signal) == (Outcome.KIND_SIGNALED, 11)
    assert attempt.data == b"begun" + bytes(size)
    assert attempt.complete
    await house.gone()
    second.stop()


async def test_an_offer_that_died_with_its_worker_goes_to_the_next(house: House) -> None:
    """It was never listed, so no process can exist, and the server offers it again."""
    attempt = house.server.submit("fake")
    first = house.worker()
    await house.server.until(lambda: attempt.state == "ASSIGNED" or attempt.state == "FINISHED")
    await house.crash(first)
    if attempt.state == "ASSIGNED":
        house.worker()
    await house.finished(attempt)
    assert len(house.machine.starts) <= 1


async def test_stop_ends_the_jobs_reports_them_and_exits_with_zero(house: House) -> None:
    running = house.server.submit("fake", "stdout=begun", "hold")
    worker = house.worker()
    await house.listed(running, HeldAttempt.PHASE_STARTED)
    worker.stop()
    assert await house.ended(worker) is ExitCode.OK
    assert running.outcome is not None
    assert (running.outcome.kind, running.outcome.detail) == (Outcome.KIND_CANCELLED, "shutdown")
    assert running.data == b"begun"
    assert running.complete
    assert house.machine.worker is None
    assert local_worker_is_alive(house.directory) is None


async def test_stop_with_keep_jobs_leaves_them_to_the_next_worker(house: House) -> None:
    attempt = house.server.submit("fake", "hold", "exit=4")
    worker = house.worker()
    await house.listed(attempt, HeldAttempt.PHASE_STARTED)
    worker.stop(keep_jobs=True)
    assert await house.ended(worker) is ExitCode.OK
    house.worker()
    house.machine.release(attempt.attempt_id)
    await house.finished(attempt)
    assert attempt.outcome is not None
    assert attempt.outcome.exit_code == 4


async def test_an_idle_worker_stops_at_once_while_its_sync_is_parked(house: House) -> None:
    house.server.park = 60.0
    worker = house.worker()
    await house.server.until(lambda: bool(house.server.syncs))
    worker.stop()
    assert await house.ended(worker) is ExitCode.OK


async def test_a_stopping_worker_takes_no_offer(house: House) -> None:
    class Stubborn(FakeExecutor):
        """Its jobs end when the test says so."""

        async def kill(self, *_: object, **__: object) -> None:
            killed.set()

    killed = asyncio.Event()
    running = house.server.submit("fake", "hold")
    worker = house.worker(executor=Stubborn(machine=house.machine))
    await house.listed(running, HeldAttempt.PHASE_STARTED)
    worker.stop()
    await asyncio.wait_for(killed.wait(), 60)
    house.server.park = 0.1
    late = house.server.submit("fake")
    await house.server.until(lambda: house.server.syncs[-1].slots == 0)
    assert [held.phase for held in house.server.syncs[-1].attempts] == [ENDING]
    house.machine.release(running.attempt_id)
    assert await house.ended(worker) is ExitCode.OK
    assert late.attempt_id not in house.machine.starts


async def test_a_second_stop_does_not_wait_for_the_jobs(house: House) -> None:
    class Immortal(FakeExecutor):
        async def kill(self, *_: object, **__: object) -> None:
            killed.set()

    killed = asyncio.Event()
    attempt = house.server.submit("fake", "hold")
    worker = house.worker(executor=Immortal(machine=house.machine))
    await house.listed(attempt, HeldAttempt.PHASE_STARTED)
    worker.stop()
    await asyncio.wait_for(killed.wait(), 60)
    worker.stop()
    assert await house.ended(worker) is ExitCode.OK


async def test_with_no_server_a_stopping_worker_waits_within_bounds(house: House) -> None:
    attempt = house.server.submit("fake", "hold")
    worker = house.worker(times={"farewell": 0.1})
    await house.listed(attempt, HeldAttempt.PHASE_STARTED)
    await house.server.stop()
    worker.stop()
    assert await house.ended(worker) is ExitCode.OK
    # Its end is kept, and reported by whoever comes.
    await house.server.start(house.target)
    house.worker()
    await house.finished(attempt)
    assert attempt.outcome is not None
    assert attempt.outcome.detail == "shutdown"


async def test_two_workers_on_one_data_directory_are_one_too_many(house: House) -> None:
    house.worker()
    await house.server.until(lambda: bool(house.server.syncs))
    with pytest.raises(WorkerAlive):
        await house.ended(house.worker())


async def test_processes_that_cannot_be_ended_take_the_machine_out_of_work(house: House) -> None:
    attempt = house.server.submit("fake", "hold")
    house.worker()
    await house.listed(attempt, HeldAttempt.PHASE_STARTED)
    house.machine.end(
        attempt.attempt_id, outcomes.Outcome(kind=outcomes.OutcomeKind.CANCELLED, detail="user", survivors=2)
    )
    await house.finished(attempt)
    await house.server.until(lambda: house.server.syncs[-1].slots == 0)


async def test_an_executor_that_comes_back_starts_what_it_could_not(house: House) -> None:
    class Shaky(FakeExecutor):
        tries = 0

        async def start(self, *arguments: Any, **secrets: Any) -> None:
            self.tries += 1
            if self.tries == 1:
                raise ExecutorUnavailable("the supervisor died")
            await super().start(*arguments, **secrets)

    attempt = house.server.submit("fake", "exit=6")
    house.worker(executor=Shaky(machine=house.machine))
    await house.finished(attempt)
    assert attempt.outcome is not None
    assert attempt.outcome.exit_code == 6


async def test_a_start_that_is_refused_is_reported_as_a_fault_of_the_runner(house: House) -> None:
    class Mismatched(FakeExecutor):
        async def start(self, attempt_id: str, *_: Any, **__: Any) -> None:
            raise FenceMismatch(attempt_id)

    attempt = house.server.submit("fake")
    house.worker(executor=Mismatched(machine=house.machine))
    await house.finished(attempt)
    assert attempt.outcome is not None
    assert (attempt.outcome.kind, attempt.outcome.detail) == (Outcome.KIND_INFRASTRUCTURE, "start")


async def test_without_an_executor_there_is_no_worker(house: House) -> None:
    class Missing(FakeExecutor):
        async def adopt(self) -> Sequence[KnownAttempt]:
            raise ExecutorUnavailable("no room on the disk")

    assert await house.ended(house.worker(executor=Missing(machine=house.machine))) is ExitCode.EXECUTOR


async def test_a_fault_of_the_worker_ends_the_worker_and_not_its_jobs(house: House) -> None:
    class Broken(FakeExecutor):
        async def kill(self, *_: object, **__: object) -> None:
            raise RuntimeError("a fault")

    attempt = house.server.submit("fake", "hold", "exit=2")
    worker = house.worker(executor=Broken(machine=house.machine))
    await house.listed(attempt, HeldAttempt.PHASE_STARTED)
    house.server.cancel(attempt)
    with pytest.raises(ExceptionGroup):
        await house.ended(worker)
    assert house.machine.attempts[attempt.attempt_id].outcome is None
    attempt.cancel = None
    house.worker()
    await house.server.until(lambda: len({sync.session_id for sync in house.server.syncs}) == 2)
    house.machine.release(attempt.attempt_id)
    await house.finished(attempt)
    assert attempt.outcome is not None
    assert attempt.outcome.exit_code == 2


async def test_a_worker_that_stops_says_so_before_its_jobs_have_ended(house: House) -> None:
    """Else every job that ends makes room for another one that would be offered to it in vain."""

    class Slow(FakeExecutor):
        async def kill(self, attempt_id: str, cause: KillCause, detail: str = "") -> None:
            await let.wait()
            await super().kill(attempt_id, cause, detail)

    let = asyncio.Event()
    house.server.park = 60.0
    attempt = house.server.submit("fake", "hold")
    worker = house.worker(executor=Slow(machine=house.machine), slots=1)
    await house.listed(attempt, HeldAttempt.PHASE_STARTED)
    worker.stop()
    await house.server.until(lambda: house.server.syncs[-1].slots == 0)
    waiting = house.server.submit("fake")
    let.set()
    assert await house.ended(worker) is ExitCode.OK
    assert attempt.outcome is not None
    assert (attempt.outcome.kind, attempt.outcome.detail) == (Outcome.KIND_CANCELLED, "shutdown")
    assert waiting.state == "QUEUED"
