"""Input on its way from the server to the executor: cut streams, and workers that come and go."""

from __future__ import annotations

from google.rpc import code_pb2
from worker_house import House

from runner.v1.job_pb2 import JobSpec


async def test_input_reaches_the_attempt_and_the_server_hears_how_far(house: House) -> None:
    house.worker()
    attempt = house.server.submit("fake", "cat", stdin=JobSpec.STDIN_PIPE)
    house.server.give(attempt, b"abc")
    await house.server.until(lambda: attempt.written == 3)
    house.server.give(attempt, b"de", end=True)
    await house.finished(attempt)
    assert attempt.data == b"abcde"
    assert attempt.feeds == [0]


async def test_a_stream_that_is_cut_goes_on_where_the_attempt_is(house: House) -> None:
    house.worker()
    house.server.refusals["StreamInputs"] = [(code_pb2.UNAVAILABLE, "CUT")]
    attempt = house.server.submit("fake", "cat", stdin=JobSpec.STDIN_PIPE)
    house.server.give(attempt, b"abc")
    await house.server.until(lambda: attempt.written == 3)
    house.server.faults["StreamInputs"] = [(code_pb2.INTERNAL, "CUT")] * 2
    house.server.give(attempt, b"de")
    await house.server.until(lambda: attempt.written == 5 and not house.server.faults["StreamInputs"])
    house.server.give(attempt, b"f", end=True)
    await house.finished(attempt)
    assert attempt.data == b"abcdef"
    assert attempt.feeds[-1] == 5


async def test_a_later_worker_goes_on_where_the_attempt_is(house: House) -> None:
    worker = house.worker()
    attempt = house.server.submit("fake", "cat", stdin=JobSpec.STDIN_PIPE)
    house.server.give(attempt, b"abc")
    await house.server.until(lambda: attempt.written == 3)
    await house.crash(worker)
    house.server.give(attempt, b"def", end=True)
    house.worker()
    await house.finished(attempt)
    assert attempt.data == b"abcdef"
    assert attempt.feeds == [0, 3]


async def test_a_job_without_input_opens_no_stream(house: House) -> None:
    house.worker()
    attempt = house.server.submit("fake", "stdout=x")
    await house.finished(attempt)
    assert attempt.feeds == []
