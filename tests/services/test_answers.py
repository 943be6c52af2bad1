"""`Answers`: one request is carried out once, and answered as often as it is said."""

from __future__ import annotations

import asyncio

import pytest
from services_house import House
from store_house import MovingClock

from runner_service.domain.errors import AlreadyExists, InvalidArgument, JobFinished, SecretNotFound
from runner_service.domain.jobs import JobState
from runner_service.ports.store import AnswerKey, Mark
from runner_service.services.answers import Answers, Asked, Kind
from runner_service.services.sealing import Sealer

KEY = AnswerKey("ann", "/runner.v1.RunnerService/RestartRunner", "r-1")


class Died(BaseException):
    """The server dies here."""


class Deed:
    """Something that must be done once."""

    def __init__(self) -> None:
        self.done = 0
        self.error: Exception | None = None
        self.let = asyncio.Event()
        self.let.set()

    async def __call__(self, mark: Mark) -> bytes:
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


async def test_an_answer_with_a_credential_is_not_kept(house: House) -> None:
    deed, asked = Deed(), Asked(KEY, b"this", Kind.SECRET)
    for number in (1, 2):
        assert await answers_of(house).once(asked, deed) == b"answer %d" % number
    assert await house.store.answers.find(KEY) is None


async def test_what_is_gone_is_not_shown_again_when_the_first_answer_was_lost(house: House) -> None:
    await house.secrets.set("s", b"long enough to mask")

    async def leave(mark: Mark) -> bytes:
        await house.secrets.delete("s", mark=mark)
        raise Died

    asked = Asked(KEY, b"this", Kind.LEAVING)
    with pytest.raises(Died):
        await answers_of(house).once(asked, leave)
    assert await answers_of(house).once(asked, leave) == b""
    with pytest.raises(AlreadyExists):
        await answers_of(house).once(asked._replace(content=b"that"), leave)


async def test_of_two_servers_that_are_asked_at_once_both_say_that_it_is_gone(house: House) -> None:
    await house.secrets.set("s", b"long enough to mask")
    together = asyncio.Barrier(2)

    async def leave(mark: Mark) -> bytes:
        await together.wait()  # Both have looked, and neither has found an answer.
        names = [secret.name for secret in await house.secrets.list()]
        await together.wait()
        assert names == ["s"]
        await house.secrets.delete("s", mark=mark)
        return b"gone"

    asked = Asked(KEY, b"this", Kind.LEAVING)
    assert await asyncio.gather(*(answers_of(house).once(asked, leave) for _ in range(2))) == [b"gone"] * 2
    assert await house.secrets.list() == []


async def test_nothing_left_to_do_because_another_server_did_it_is_no_error(house: House) -> None:
    answers = answers_of(house)

    async def late(mark: Mark) -> bytes:
        # Meanwhile the other one does it.
        await house.secrets.set("s", b"long enough to mask")
        await house.secrets.delete("s", mark=mark)
        raise SecretNotFound(name="s")

    assert await answers.once(Asked(KEY, b"this", Kind.LEAVING), late) == b""


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
