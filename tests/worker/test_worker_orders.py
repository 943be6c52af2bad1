"""Orders, and what becomes of attempts: nothing is lost, nothing starts twice."""

from __future__ import annotations

import asyncio

import pytest
from google.rpc import code_pb2
from worker_house import House

from runner.v1.dispatch_service_pb2 import HeldAttempt
from runner.v1.outcome_pb2 import Outcome

HELD, STARTED = HeldAttempt.PHASE_HELD, HeldAttempt.PHASE_STARTED


async def test_a_short_command_is_told_whole_by_its_report(house: House) -> None:
    attempt = house.server.submit("fake", "stdout=hello", "stderr=world", "exit=7")
    house.worker(times={"first_flush": 10.0})
    await house.finished(attempt)
    assert attempt.outcome is not None
    assert (attempt.outcome.kind, attempt.outcome.exit_code) == (Outcome.KIND_EXITED, 7)
    assert attempt.data == b"helloworld"
    assert attempt.complete
    assert attempt.streams == 0


async def test_an_attempt_is_listed_held_before_it_starts_and_no_more_when_it_was_reported(house: House) -> None:
    attempt = house.server.submit("fake", "hold")
    house.worker()
    await house.listed(attempt, STARTED)
    phases = [held.phase for sync in house.server.syncs for held in sync.attempts]
    assert phases == [HELD, STARTED]
    house.machine.release(attempt.attempt_id)
    await house.finished(attempt)
    await house.gone()
    assert house.machine.attempts == {}


async def test_a_worker_runs_as_many_as_it_has_slots(house: House) -> None:
    first, second, third = (house.server.submit("fake", "hold") for _ in range(3))
    house.worker(slots=2)
    await house.listed(second, STARTED)
    assert third.state == "QUEUED"
    house.machine.release(first.attempt_id)
    await house.listed(third, STARTED)


@pytest.mark.parametrize("code", ["UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN", "ABORTED", "CANCELLED"])
async def test_lost_replies_start_nothing_twice(house: House, code: str) -> None:
    number = code_pb2.Code.Value(code)
    house.server.faults["Sync"] = [(number, "LOST_REPLY")] * 5
    house.server.faults["ReportAttempts"] = [(number, "LOST_REPLY")] * 2
    attempts = [house.server.submit("fake", "stdout=x", "exit=3") for _ in range(6)]
    house.worker()
    await house.finished(*attempts)
    await house.gone()
    assert sorted(house.machine.starts) == sorted(attempt.attempt_id for attempt in attempts)
    assert {attempt.outcome.exit_code for attempt in attempts if attempt.outcome} == {3}
    assert all(attempt.data == b"x" and attempt.complete for attempt in attempts)


@pytest.mark.parametrize("code", ["UNAVAILABLE", "DEADLINE_EXCEEDED"])
async def test_what_comes_along_with_reports_is_started_once_whatever_is_lost(house: House, code: str) -> None:
    number = code_pb2.Code.Value(code)
    house.server.brings_along = True
    house.server.faults["Sync"] = [(number, "LOST_REPLY")] * 2
    house.server.faults["ReportAttempts"] = [(number, "LOST_REPLY")] * 4
    attempts = [house.server.submit("fake", "stdout=x", "exit=3") for _ in range(30)]
    house.worker()
    await house.finished(*attempts)
    await house.gone()
    assert sorted(house.machine.starts) == sorted(attempt.attempt_id for attempt in attempts)
    assert {attempt.outcome.exit_code for attempt in attempts if attempt.outcome} == {3}
    assert any(request.held for request in house.server.reports), "something was confirmed with a report"


@pytest.mark.parametrize("code", ["UNAVAILABLE", "DEADLINE_EXCEEDED"])
async def test_what_a_report_has_started_is_started_once_or_given_back(house: House, code: str) -> None:
    number = code_pb2.Code.Value(code)
    house.server.brings_along = house.server.starts_along = True
    house.server.faults["Sync"] = [(number, "LOST_REPLY")] * 2
    house.server.faults["ReportAttempts"] = [(number, "LOST_REPLY")] * 4
    attempts = [house.server.submit("fake", "stdout=x", "exit=3") for _ in range(30)]
    house.worker()
    await house.finished(*attempts)
    await house.gone()
    assert sorted(house.machine.starts) == sorted(attempt.attempt_id for attempt in attempts)
    assert {attempt.outcome.exit_code for attempt in attempts if attempt.outcome} == {3}
    numbers = [request.number for request in house.server.reports]
    assert numbers == list(range(1, len(numbers) + 1))
    assert not any(request.held for request in house.server.reports), "nothing waited for a confirmation"


async def test_a_worker_that_stops_gives_back_what_it_is_told_to_start(house: House) -> None:
    house.server.brings_along = house.server.starts_along = True
    house.server.answer_gate = asyncio.Event()
    first = house.server.submit("fake", "hold")
    worker = house.worker(slots=1, times={"farewell": 60.0})
    await house.listed(first, STARTED)
    second = house.server.submit("fake")
    started = second.attempt_id
    house.machine.release(first.attempt_id)
    await house.server.until(lambda: second.state == "RUNNING")
    worker.stop()
    await house.server.until(lambda: house.server.syncs[-1].slots == 0)
    assert second.state == "RUNNING", "its answer is under way, so no list speaks of it"
    async with asyncio.timeout(60):
        while len(worker._attempts):  # Until the first one is forgotten: the worker has nothing left but that answer.
            await asyncio.sleep(0)
    house.server.answer_gate.set()
    await house.server.until(lambda: second.state == "QUEUED")
    assert started not in house.machine.starts


async def test_a_worker_that_stops_lets_nothing_come_along(house: House) -> None:
    house.server.brings_along = True
    first = house.server.submit("fake", "hold")
    worker = house.worker(slots=1)
    await house.listed(first, STARTED)
    second = house.server.submit("fake")
    worker.stop()
    await house.finished(first)
    assert second.attempt_id not in house.machine.starts


async def test_a_report_is_repeated_until_it_is_answered(house: House) -> None:
    house.server.refusals["ReportAttempts"] = [(code_pb2.UNAVAILABLE, "NOT_NOW")] * 3
    attempt = house.server.submit("fake")
    house.worker()
    await house.finished(attempt)
    assert house.server.refusals["ReportAttempts"] == []


async def test_a_report_that_can_never_be_taken_holds_up_no_other(house: House) -> None:
    attempts = [house.server.submit("fake", "hold") for _ in range(3)]
    house.worker()
    for attempt in attempts:
        await house.listed(attempt, STARTED)
    # All three, then the first alone, then it again without its log.
    house.server.refusals["ReportAttempts"] = [(code_pb2.INVALID_ARGUMENT, "INVALID_ARGUMENT")] * 3
    for attempt in attempts:
        house.machine.release(attempt.attempt_id)
    await house.finished(*attempts)
    assert [attempt.outcome.kind for attempt in attempts if attempt.outcome] == [
        Outcome.KIND_LOST,  # runner_forgot: the worker lists it no more.
        Outcome.KIND_EXITED,
        Outcome.KIND_EXITED,
    ]


async def test_a_late_run_of_a_reported_attempt_starts_nothing(house: House) -> None:
    """The reply to a Sync may have been made before the report that it meets on its way."""
    house.server.park = 0.2
    attempt = house.server.submit("fake", "hold")
    house.worker()
    await house.listed(attempt, STARTED)
    house.machine.release(attempt.attempt_id)
    await house.finished(attempt)
    attempt.state = "RUNNING"  # As if the parked Sync were answered from before.
    house.server.wake()
    await house.server.until(lambda: attempt.state == "FINISHED")
    assert house.machine.starts == [attempt.attempt_id]


async def test_what_ends_together_is_reported_together(house: House) -> None:
    attempts = [house.server.submit("fake", "hold") for _ in range(4)]
    house.worker()
    for attempt in attempts:
        await house.listed(attempt, STARTED)
    for attempt in attempts:
        house.machine.release(attempt.attempt_id)
    await house.finished(*attempts)
    assert [len(request.reports) for request in house.server.reports] == [4]


async def test_a_cancel_ends_the_process_and_says_why(house: House) -> None:
    attempt = house.server.submit("fake", "stdout=begun", "hold")
    house.worker()
    await house.listed(attempt, STARTED)
    house.server.cancel(attempt, "impatience")
    await house.finished(attempt)
    assert attempt.outcome is not None
    assert (attempt.outcome.kind, attempt.outcome.detail) == (Outcome.KIND_CANCELLED, "impatience")
    assert attempt.data == b"begun"
    assert attempt.complete


async def test_a_cancel_that_comes_instead_of_run_starts_nothing(house: House) -> None:
    attempt = house.server.submit("fake")
    attempt.cancel = "user"
    house.worker()
    await house.finished(attempt)
    assert house.machine.starts == []
    assert attempt.outcome is not None
    assert attempt.outcome.kind == Outcome.KIND_CANCELLED
    assert attempt.complete


async def test_forget_ends_and_deletes_without_a_report(house: House) -> None:
    attempt = house.server.submit("fake", "hold")
    house.worker()
    await house.listed(attempt, STARTED)
    attempt.state, attempt.outcome = "FINISHED", Outcome(kind="KIND_LOST", detail="lease_expired")
    house.server.wake()
    await house.gone()
    assert house.machine.attempts == {}
    assert attempt.reports == 0


async def test_a_stale_report_is_forgotten(house: House) -> None:
    house.server.park = 0.2
    attempt = house.server.submit("fake", "hold")
    house.worker()
    await house.listed(attempt, STARTED)
    attempt.fence += 1
    house.machine.release(attempt.attempt_id)
    await house.server.until(lambda: bool(house.server.reports))
    await house.gone()
    assert house.machine.attempts == {}


async def test_a_stale_log_ends_the_process(house: House) -> None:
    house.server.park = 0.2
    attempt = house.server.submit("fake", "hold", "stdout=more", "hold")
    house.worker()
    await house.listed(attempt, STARTED)
    attempt.fence += 1
    house.machine.release(attempt.attempt_id)
    await house.server.until(lambda: house.machine.attempts == {} or house.server.changed.is_set())
    await house.gone()
    assert house.machine.attempts == {}
    assert attempt.reports == 0


async def test_a_refusal_to_start_is_an_outcome(house: House) -> None:
    attempt = house.server.submit("no-such-command")
    house.worker()
    await house.finished(attempt)
    assert attempt.outcome is not None
    assert (attempt.outcome.kind, attempt.outcome.detail) == (Outcome.KIND_REFUSED, "COMMAND_NOT_FOUND")


async def test_a_server_that_repeats_itself_is_not_asked_as_fast_as_it_answers(house: House) -> None:
    house.server.park = 0.0
    house.worker()
    await house.server.until(lambda: len(house.server.syncs) >= 8)
    before = len(house.server.syncs)
    began = asyncio.get_running_loop().time()
    await house.server.until(lambda: len(house.server.syncs) >= before + 2)
    assert asyncio.get_running_loop().time() - began >= 0.05
    # Work still comes at once.
    attempt = house.server.submit("fake")
    await house.finished(attempt)


async def test_only_one_sync_is_under_way(house: House) -> None:
    under_way, most = 0, 0
    real = house.server.Sync

    async def counting(request: object, context: object) -> object:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            return await real(request, context)  # type: ignore[arg-type]
        finally:
            under_way -= 1

    await house.server.stop()
    house.server.Sync = counting  # type: ignore[method-assign, assignment]
    await house.server.start(house.target)
    attempts = [house.server.submit("fake", "stdout=x") for _ in range(20)]
    house.worker()
    await house.finished(*attempts)
    assert most == 1


async def test_what_has_no_process_in_time_is_ended(house: House) -> None:
    late = house.server.submit("fake", "unborn")
    late.spec.start_timeout.FromMilliseconds(50)
    prompt = house.server.submit("fake", "hold")
    prompt.spec.start_timeout.FromSeconds(600)
    house.worker()
    await house.finished(late)
    assert late.outcome is not None
    assert (late.outcome.kind, late.outcome.detail) == (Outcome.KIND_TIMED_OUT, "start")
    await house.listed(prompt, STARTED)
    house.machine.release(prompt.attempt_id)
    await house.finished(prompt)
    assert prompt.outcome is not None and prompt.outcome.kind == Outcome.KIND_EXITED
