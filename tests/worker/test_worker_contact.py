"""Leases, cuts, credentials: what a worker does when the server is slow, away, new, or says no."""

from __future__ import annotations

import asyncio
import re

import pytest
from google.rpc import code_pb2
from worker_house import House

from runner.v1.dispatch_service_pb2 import HeldAttempt
from runner_service.worker.executors.fake import FakeExecutor, FakeMachine
from runner_service.worker.identity import load_identity
from runner_service.worker.times import ExitCode

STARTED = HeldAttempt.PHASE_STARTED


async def test_the_lease_is_counted_from_the_time_of_sending_plus_the_time_parked(house: House) -> None:
    """So it ends before the server's, whatever the reply's way took."""
    now = [1000.0]

    class Slow(FakeExecutor):
        async def set_deadline(self, deadline: float | None, attempt_id: str | None = None) -> None:
            await super().set_deadline(deadline, attempt_id)
            told.put_nowait(deadline)

    told: asyncio.Queue[float | None] = asyncio.Queue()
    reads: list[float] = []

    def monotonic() -> float:
        # Each look at the clock takes it 100 s further: a count from any later look would be off by as much.
        now[0] += 100.0
        reads.append(now[0])
        return now[0]

    house.server.lease = 20.0
    house.server.park = 0.3
    house.server.submit("fake", "hold", self_stop=600.0)
    house.worker(executor=Slow(machine=house.machine), monotonic=monotonic, times={"deadline_step": 0.0})
    first = await asyncio.wait_for(told.get(), 60)
    second = await asyncio.wait_for(told.get(), 60)
    assert first is not None
    assert second is not None
    # One look per Sync, before it was sent; the first deadline comes with the reply that orders RUN (the second Sync),
    # for which there is another look, whether it came in time.
    _, ordered, parked = house.server.parked[:3]
    assert first - 620.0 - reads[1] == pytest.approx(ordered, abs=0.001)
    # The Sync after that was parked for the whole time.
    assert second - 620.0 - reads[3] == pytest.approx(parked, abs=0.001) and parked >= 0.3


async def test_a_job_stops_itself_when_the_server_stays_away_and_is_reported_so_later(house: House) -> None:
    attempt = house.server.submit("fake", "hold", self_stop=60.0)
    house.worker(monotonic=lambda: 1000.0)
    await house.listed(attempt, STARTED)
    await house.server.stop()
    house.machine.advance(1000.0 + 30.0 + 60.0 - 1.0)
    assert house.machine.attempts[attempt.attempt_id].outcome is None
    house.machine.advance(1000.0 + 30.0 + 60.0 + 6.0)
    await house.server.start(house.target)
    await house.finished(attempt)
    assert attempt.outcome is not None
    assert attempt.outcome.detail == "self_stop"


async def test_a_server_that_is_away_for_a_while_loses_nothing(house: House) -> None:
    running = house.server.submit("fake", "stdout=1", "hold", "stdout=2", "exit=5")
    ending = house.server.submit("fake", "hold", "stdout=3")
    house.worker()
    await house.listed(running, STARTED)
    await house.listed(ending, STARTED)
    await house.server.stop()
    house.machine.release(ending.attempt_id)
    house.machine.release(running.attempt_id)
    await house.server.start(house.target)
    await house.finished(running, ending)
    assert running.data == b"12"
    assert ending.data == b"3"
    assert running.complete
    assert ending.complete
    assert len(house.machine.starts) == 2


async def test_a_worker_waits_for_a_server_that_is_not_there_yet(house: House) -> None:
    await house.server.stop()
    house.worker()
    await house.server.start(house.target)
    attempt = house.server.submit("fake")
    await house.finished(attempt)


async def test_it_shows_its_join_token_once_and_then_the_credential_it_got(house: House) -> None:
    house.server.token = "join-me"
    worker = house.worker(join_token="join-me", name="lab-7", labels={"gpu": "yes", "os": "wrong"})
    await house.server.until(lambda: bool(house.server.syncs))
    (registration,) = house.server.registrations
    assert registration.name == "lab-7"
    assert registration.labels["gpu"] == "yes"
    assert registration.labels["os"] == "linux"
    assert {"arch", "hostname"} <= set(registration.labels)
    worker.stop()
    assert await house.ended(worker) is ExitCode.OK
    again = house.worker()
    await house.server.until(lambda: len({sync.session_id for sync in house.server.syncs}) == 2)
    assert len(house.server.registrations) == 1
    assert len({sync.runner_id for sync in house.server.syncs}) == 1
    again.stop()


async def test_a_registration_whose_answer_is_lost_is_said_again_as_the_same(house: House) -> None:
    house.server.faults["RegisterRunner"] += [
        (code_pb2.UNAVAILABLE, "LOST"),
        (code_pb2.FAILED_PRECONDITION, "CREDENTIAL_UNTOLD"),
    ]
    house.worker()
    await house.server.until(lambda: len(house.server.syncs) > 0)
    first, second, third = [request.request_id for request in house.server.registrations]
    assert first == second != third  # What cannot be told again is begun anew.


async def test_a_wrong_join_token_ends_it_with_a_clear_message(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.server.token = "join-me"
    worker = house.worker(join_token="wrong")
    assert await house.ended(worker) is ExitCode.REFUSED
    assert re.search("refuses this worker .* Join with a token", caplog.text)


async def test_a_credential_that_is_refused_later_is_tried_again_while_something_is_held(house: House) -> None:
    attempt = house.server.submit("fake", "hold", "stdout=x")
    house.worker()
    await house.listed(attempt, STARTED)
    house.server.refusals["Sync"] = [(code_pb2.UNAUTHENTICATED, "CREDENTIALS_INVALID")] * 3
    house.server.refusals["ReportAttempts"] = [(code_pb2.PERMISSION_DENIED, "ROLE_INSUFFICIENT")] * 3
    house.machine.release(attempt.attempt_id)
    await house.finished(attempt)
    assert len(house.server.registrations) == 1


async def test_a_server_with_a_new_store_gets_a_new_registration(house: House) -> None:
    worker = house.worker()
    await house.server.until(lambda: bool(house.server.syncs))
    worker.stop()
    await house.ended(worker)
    house.server.credentials.clear()
    house.worker()
    await house.server.until(lambda: len(house.server.registrations) == 2)
    attempt = house.server.submit("fake")
    await house.finished(attempt)


async def test_a_runner_that_was_deleted_registers_again_and_ends_what_nobody_owns(house: House) -> None:
    house.server.park = 0.2
    attempt = house.server.submit("fake", "hold")
    house.worker()
    await house.listed(attempt, STARTED)
    before = load_identity(house.directory)
    assert before is not None
    house.server.refusals["Sync"] = [(code_pb2.NOT_FOUND, "RUNNER_NOT_FOUND")]
    await house.server.until(lambda: len(house.server.registrations) == 2)
    await house.gone()
    after = load_identity(house.directory)
    assert after is not None
    assert after.runner_id != before.runner_id
    assert house.machine.attempts == {}
    fresh = house.server.submit("fake")
    await house.finished(fresh)
    assert fresh.runner_id == after.runner_id


async def test_of_two_workers_with_one_identity_the_older_ends_its_jobs_and_itself(house: House) -> None:
    house.server.park = 0.2
    attempt = house.server.submit("fake", "hold")
    older = house.worker()
    await house.listed(attempt, STARTED)
    copy = house.directory / "copy"
    (copy / "worker").mkdir(parents=True)
    for name in ("identity", "session"):
        (copy / "worker" / name).write_bytes((house.directory / "worker" / name).read_bytes())
    house.worker(executor=FakeExecutor(machine=FakeMachine()), data_directory=copy)
    assert await house.ended(older) is ExitCode.STALE
    assert house.machine.attempts == {}


async def test_a_sync_that_was_overtaken_is_just_sent_again(house: House) -> None:
    house.server.refusals["Sync"] = [(code_pb2.FAILED_PRECONDITION, "STALE_SYNC")]
    attempt = house.server.submit("fake")
    house.worker()
    await house.finished(attempt)
    numbers = [sync.sync_number for sync in house.server.syncs]
    assert numbers == sorted(set(numbers))


async def test_a_local_worker_ends_when_it_has_nothing_and_no_server_comes_back(house: House) -> None:
    attempt = house.server.submit("fake", "hold")
    worker = house.worker(local=True, times={"orphan": 0.2, "farewell": 0.0})
    await house.listed(attempt, STARTED)
    await house.server.stop()
    house.machine.release(attempt.attempt_id)
    assert await house.ended(worker) is ExitCode.OK
    # What it could not report is there for the worker that comes after.
    await house.server.start(house.target)
    house.worker()
    await house.finished(attempt)
    assert attempt.outcome is not None
    assert attempt.outcome.exit_code == 0


@pytest.mark.slow
async def test_a_local_worker_in_contact_does_not_end(house: House) -> None:
    house.server.park = 0.5
    house.worker(local=True, times={"orphan": 5.0})
    await house.server.until(lambda: len(house.server.syncs) >= 12)
    attempt = house.server.submit("fake")
    await house.finished(attempt)


async def test_an_order_that_comes_later_than_its_lease_starts_nothing(house: House) -> None:
    now, pace = 0.0, 100.0

    def monotonic() -> float:
        nonlocal now
        now += pace
        return now

    attempt = house.server.submit("fake", "exit=4", self_stop=60.0)
    house.worker(monotonic=monotonic)
    await house.server.until(lambda: sum(len(sync.attempts) for sync in house.server.syncs) >= 3)
    assert house.machine.starts == []
    assert attempt.state == "RUNNING"
    pace = 0.0
    await house.finished(attempt)
    assert house.machine.starts == [attempt.attempt_id]
