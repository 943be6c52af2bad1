"""`Answers`: one request is carried out once, and answered as often as it is said."""

from __future__ import annotations

import asyncio

import pytest
from services_house import House
from store_house import MovingClock

from runner_service.domain.errors import AlreadyExists, InvalidArgument, JobFinished
from runner_service.domain.jobs import JobState
from runner_service.ports.store import AnswerKey
from runner_service.services.answers import Answers, Asked
from runner_service.services.sealing import Sealer

KEY = AnswerKey("ann", "/runner.v1.RunnerService/RestartRunner", "r-1")


class Deed:
    """Something that must be done once."""

    def __init__(self) -> None:
        self.done = 0
        self.error: Exception | None = None
        self.let = asyncio.Event()
        self.let.set()

    async def __call__(self) -> bytes:
        self.done += 1
        await self.let.wait()
        if self.error is not None:
            raise self.error
        return b"answer %d" % self.done


def answers_of(house: House, *, key: bytes = bytes(32)) -> Answers:
    return Answers(store=house.store.answers, sealer=Sealer(key), clock=house.clock, keep_seconds=60)


async def test_a_repeated_request_gets_its_answer_again(house: House) -> None:
    deed = Deed()
    assert await answers_of(house).once(Asked(KEY, b"this"), deed) == b"answer 1"
    assert await answers_of(house).once(Asked(KEY, b"this"), deed) == b"answer 1"
    with pytest.raises(AlreadyExists):
        await answers_of(house).once(Asked(KEY, b"that"), deed)
    assert deed.done == 1
    assert await answers_of(house).once(Asked(KEY._replace(request_id="r-2"), b"this"), deed) == b"answer 2"


async def test_two_at_the_same_time_are_one(house: House) -> None:
    answers, deed = answers_of(house), Deed()
    deed.let.clear()
    calls = [asyncio.create_task(answers.once(Asked(KEY, b"this"), deed)) for _ in range(3)]
    while not deed.done:
        await asyncio.sleep(0)
    deed.let.set()
    assert await asyncio.gather(*calls) == [b"answer 1"] * 3
    assert deed.done == 1


async def test_an_error_is_no_answer(house: House) -> None:
    answers, deed = answers_of(house), Deed()
    deed.error = JobFinished(job_id="j", state=JobState.LOST)
    with pytest.raises(JobFinished):
        await answers.once(Asked(KEY, b"this"), deed)
    deed.error = None
    assert await answers.once(Asked(KEY, b"this"), deed) == b"answer 2"


async def test_a_credential_is_kept_sealed(house: House) -> None:
    deed, asked = Deed(), Asked(KEY, b"this", confidential=True)
    for _ in range(2):
        assert await answers_of(house).once(asked, deed) == b"answer 1"
    kept = await house.store.answers.find(KEY)
    assert kept is not None and b"answer" not in kept.answer
    # With another key nothing is known about the content, and so it is another request.
    with pytest.raises(AlreadyExists):
        await answers_of(house, key=b"\x01" * 32).once(asked, deed)


async def test_an_answer_is_forgotten_after_its_time(house: House, clock: MovingClock) -> None:
    answers, deed = answers_of(house), Deed()
    await answers.once(Asked(KEY, b"this"), deed)
    clock.advance(59)
    await answers.sweep()
    assert await house.store.answers.find(KEY) is not None
    clock.advance(2)
    await answers.sweep()
    assert await house.store.answers.find(KEY) is None


@pytest.mark.parametrize("request_id", ["x" * 201, "a\0b"])
async def test_ids_have_a_form(house: House, request_id: str) -> None:
    with pytest.raises(InvalidArgument, match="200 characters"):
        await answers_of(house).once(Asked(KEY._replace(request_id=request_id), b""), Deed())
