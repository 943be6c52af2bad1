"""The way of a log: by report or by stream, resumed anywhere, byte for byte."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from dispatched import Attempt
from google.rpc import code_pb2
from worker_house import House

from runner.v1.dispatch_service_pb2 import HeldAttempt
from runner_service.domain.logs import LogRecord
from runner_service.worker.executors.fake import FakeExecutor, FakeMachine
from runner_service.worker.times import WINDOW

STARTED = HeldAttempt.PHASE_STARTED
RECORD = 65536


def wrote(attempt: Attempt, data: bytes) -> bool:
    assert attempt.seal is not None
    same = attempt.data == data and attempt.seal.sha256 == hashlib.sha256(data).digest()
    return same and [record.sequence for record in attempt.records] == list(range(len(attempt.records)))


async def test_output_of_a_job_that_goes_on_arrives_before_its_end(house: House) -> None:
    attempt = house.server.submit("fake", "stdout=begun", "hold", "stdout=,ended")
    house.worker()
    await asyncio.wait_for(attempt.logged.wait(), 60)
    assert attempt.data == b"begun"
    await house.listed(attempt, STARTED)
    house.machine.release(attempt.attempt_id)
    await house.finished(attempt)
    assert wrote(attempt, b"begun,ended")
    assert attempt.streams == 1
    # What was left at the end went with the report.
    assert [len(report.records) for request in house.server.reports for report in request.reports] == [1]


async def test_a_big_log_goes_by_stream_in_batches_of_at_most_256_kib(house: House) -> None:
    attempt = house.server.submit("fake", f"stdout*={40 * RECORD + 17}")
    house.worker(times={"first_flush": 10.0})
    await house.finished(attempt)
    assert wrote(attempt, bytes(40 * RECORD + 17))
    assert attempt.streams == 1
    assert max(sum(len(r.data) for r in batch.records) for batch in house.server.batches) <= 256 * 1024
    assert not house.server.batches[0].records


async def test_no_more_than_a_window_is_under_way(house: House) -> None:
    house.server.append_gate = asyncio.Event()
    executor = CountingExecutor(machine=house.machine)
    attempt = house.server.submit("fake", f"stdout*={100 * RECORD}")
    house.worker(executor=executor)
    async with asyncio.timeout(60):
        for _ in range(WINDOW):
            await executor.reads.acquire()
    other = house.server.submit("fake")
    await house.finished(other)
    assert executor.reads.locked()  # Nothing was read since.
    house.server.append_gate.set()
    await house.finished(attempt)
    assert wrote(attempt, bytes(100 * RECORD))


@pytest.mark.parametrize("every", [1, 2, 3, 5])
async def test_a_stream_that_is_cut_at_every_kth_batch_is_resumed_at_the_right_byte(house: House, every: int) -> None:
    house.server.cut_after = [every] * 60
    attempt = house.server.submit("fake", f"stdout*={30 * RECORD}", f"stderr*={9 * RECORD + 1}", "stdout=end")
    house.worker()
    await house.finished(attempt)
    assert wrote(attempt, bytes(39 * RECORD + 1) + b"end")
    assert attempt.streams > 1


async def test_a_log_that_is_refused_under_way_is_not_tried_again(house: House) -> None:
    house.server.cut_with, house.server.cut_after = (code_pb2.FAILED_PRECONDITION, "LOG_SEALED"), [1] * 20
    attempts = [house.server.submit("fake", f"stdout*={30 * RECORD}") for _ in range(8)]
    house.worker()
    await house.finished(*attempts)
    assert [attempt.streams for attempt in attempts] == [1] * 8


async def test_a_log_that_the_server_misses_is_shipped_whole(house: House) -> None:
    attempt = house.server.submit("fake", "stdout=precious")
    house.server.misses[attempt.attempt_id] = 1
    house.worker(times={"first_flush": 10.0})
    await house.finished(attempt)
    assert wrote(attempt, b"precious")
    assert (attempt.reports, attempt.streams) == (2, 1)


async def test_a_log_that_is_missing_for_good_is_given_up_aloud(house: House, caplog: pytest.LogCaptureFixture) -> None:
    attempt = house.server.submit("fake", "stdout=precious")
    house.server.misses[attempt.attempt_id] = 2
    house.worker()
    await house.finished(attempt)
    assert attempt.seal is None
    assert attempt.reports == 3
    assert "log_given_up" in [getattr(record, "action", "") for record in caplog.records]


async def test_a_damaged_journal_ends_the_log_and_not_the_worker(house: House) -> None:
    attempt = house.server.submit("fake", f"stdout*={RECORD * 3}", "hold", f"stdout*={RECORD * 3}")
    house.worker()
    await house.server.until(lambda: len(attempt.records) == 3)
    await house.listed(attempt, STARTED)
    house.machine.release(attempt.attempt_id)
    journal = house.machine.attempts[attempt.attempt_id].journal
    journal[-RECORD * 2 :] = bytes(RECORD * 2)
    await house.finished(attempt)
    assert attempt.seal is None
    assert len(attempt.records) >= 3
    after = house.server.submit("fake")
    await house.finished(after)


async def test_what_somebody_follows_goes_out_without_waiting_for_the_second(house: House) -> None:
    attempt = house.server.submit("fake", "stdout=1", "hold", "stdout=2", "hold", "stdout=3", "hold")
    house.server.followed.add(attempt.attempt_id)
    house.worker(times={"interval_unfollowed": 60.0, "silence_unfollowed": 60.0})
    for count in (1, 2, 3):
        await house.server.until(lambda count=count: len(attempt.records) == count)  # type: ignore[misc]
        house.machine.release(attempt.attempt_id)
    await house.finished(attempt)
    assert wrote(attempt, b"123")


async def test_a_follower_that_comes_later_sees_at_once_what_was_held_back(house: House) -> None:
    attempt = house.server.submit("fake", "stdout=1", "hold", "stdout=2", "hold")
    house.worker(times={"interval_unfollowed": 60.0, "silence_unfollowed": 60.0})
    await house.server.until(lambda: len(attempt.records) == 1)
    await house.listed(attempt, STARTED)
    house.machine.release(attempt.attempt_id)
    house.server.followed.add(attempt.attempt_id)
    house.server.park = 0.0
    house.server.wake()
    await house.server.until(lambda: len(attempt.records) == 2)


async def test_a_stream_that_stands_still_is_opened_again(house: House) -> None:
    house.server.append_gate = asyncio.Event()
    attempt = house.server.submit("fake", f"stdout*={4 * RECORD}")
    house.worker(times={"ack_timeout": 0.2})
    await house.server.until(lambda: attempt.streams >= 2)
    house.server.append_gate.set()
    await house.finished(attempt)
    assert wrote(attempt, bytes(4 * RECORD))


class CountingExecutor(FakeExecutor):
    """Tells how often a journal was read."""

    def __init__(self, *, machine: FakeMachine) -> None:
        super().__init__(machine=machine)
        self.reads = asyncio.Semaphore(0)

    async def read_log(self, attempt_id: str, offset: int, limit: int) -> tuple[list[LogRecord], int]:
        self.reads.release()
        return await super().read_log(attempt_id, offset, limit)
