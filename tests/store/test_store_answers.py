"""`AnswerStore`: what was answered first stays, until its time is over."""

from __future__ import annotations

import pytest
from store_house import MovingClock, Opener

from runner_service.domain.errors import AlreadyExists
from runner_service.ports.store import AnswerKey, KeptAnswer, Mark
from runner_service.store import SqlStore

KEY = AnswerKey("ann", "/runner.v1.JobService/CancelJob", "r-1")


async def test_the_first_answer_stays_and_is_of_one_caller_and_method(reopen: Opener) -> None:
    async with reopen() as store:
        assert await store.answers.find(KEY) is None
        await store.answers.keep(KEY, "f", b"\x00first")
        await store.answers.keep(KEY, "f", b"second")
    async with reopen() as store:
        assert await store.answers.find(KEY) == KeptAnswer("f", b"\x00first")
        for other in (KEY._replace(caller="bob"), KEY._replace(method="/x"), KEY._replace(request_id="r-2")):
            assert await store.answers.find(other) is None


async def test_what_a_request_is_about_is_what_was_said_first(store: SqlStore) -> None:
    mark = Mark(KEY, "f")
    assert await store.answers.begin(mark, "one two") == "one two"
    assert await store.answers.begin(mark, "two") == "one two"
    assert await store.answers.find(KEY) == KeptAnswer("f", None)
    with pytest.raises(AlreadyExists):
        await store.answers.begin(mark._replace(fingerprint="g"), "two")
    await store.answers.keep(KEY, "f", b"answer")
    assert await store.answers.find(KEY) == KeptAnswer("f", b"answer")


async def test_answers_are_dropped_oldest_first(store: SqlStore, clock: MovingClock) -> None:
    for number in range(3):
        await store.answers.keep(KEY._replace(request_id=str(number)), "f", b"")
        clock.advance(1.0)
    before = clock.now() - 500_000
    assert await store.answers.drop(before=before, limit=2) == 2
    assert await store.answers.find(KEY._replace(request_id="1")) is None
    assert await store.answers.find(KEY._replace(request_id="2")) is not None
    assert await store.answers.drop(before=before, limit=2) == 1
    assert await store.answers.drop(before=before, limit=2) == 0
