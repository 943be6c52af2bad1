"""Calls that gather into one transaction, and those who can wait for one that there is anyway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from runner_service.domain.errors import Unavailable
from runner_service.store.combiner import Combiner
from runner_service.store.engine import Engine
from runner_service.store.statements import Connection


class Transactions:
    """An engine whose transactions end when the test says so."""

    def __init__(self) -> None:
        self.begun: list[list[str]] = []
        self.ends: list[asyncio.Future[Any]] = []
        self.closed = False

    def write(self, function: Callable[..., Any], items: Sequence[str]) -> asyncio.Future[Any]:
        if self.closed:
            raise Unavailable
        self.begun.append(list(items))
        self.ends.append(asyncio.get_running_loop().create_future())
        return self.ends[-1]

    async def end(self) -> None:
        self.ends[-1].set_result(self.begun[-1])
        await asyncio.sleep(0)


def _echo(conn: Connection, items: Sequence[str]) -> Sequence[str]:
    return items


def _made(engine: Transactions, before: Callable[[], None] = lambda: None) -> Combiner[str, str]:
    return Combiner(cast("Engine", engine), _echo, limit=2, before=before, patience=0.0)


async def test_one_goes_at_once_and_others_gather_meanwhile() -> None:
    engine = Transactions()
    calls = _made(engine)
    futures = [calls.submit(item) for item in "abcd"]
    assert engine.begun == [["a"]]
    for begun in (["b", "c"], ["d"]):
        await engine.end()
        assert engine.begun[-1] == begun
    await engine.end()
    assert [await future for future in futures] == list("abcd")
    assert len(engine.begun) == 3


async def test_who_can_wait_goes_along_with_others() -> None:
    engine = Transactions()
    patient = _made(engine)
    leading = _made(engine, before=patient.go_along)
    first, second = (patient.submit(item, patient=True) for item in "ab")
    assert engine.begun == []
    leading.submit("x")
    assert engine.begun == [["a", "b"], ["x"]], "and is written before it"
    engine.ends[0].set_result(["a", "b"])
    assert (await first, await second) == ("a", "b")


async def test_who_can_wait_goes_along_with_one_who_cannot() -> None:
    engine = Transactions()
    calls = _made(engine)
    calls.submit("a", patient=True)
    calls.submit("b")
    assert engine.begun == [["a", "b"]]


async def test_who_can_wait_does_not_wait_for_long() -> None:
    engine = Transactions()
    calls = _made(engine)
    for items in (["a"], ["b"]):
        future = calls.submit(items[0], patient=True)
        assert engine.begun[-1:] != [items]
        while engine.begun[-1:] != [items]:
            await asyncio.sleep(0)
        await engine.end()
        assert await future == items[0]


async def test_patience_that_ends_during_a_transaction_is_over_with_it() -> None:
    engine = Transactions()
    calls = _made(engine)
    calls.submit("a")
    calls.submit("b", patient=True)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert engine.begun == [["a"]]
    await engine.end()
    assert engine.begun == [["a"], ["b"]]


async def test_a_store_that_closes_refuses_those_who_wait() -> None:
    engine = Transactions()
    calls = _made(engine)
    future = calls.submit("a", patient=True)
    engine.closed = True
    with pytest.raises(Unavailable):
        await future
    engine.closed = False
    calls.submit("b")
    assert engine.begun == [["b"]]


async def test_a_store_that_closes_under_a_transaction_refuses_all_who_gathered_meanwhile() -> None:
    engine = Transactions()
    calls = _made(engine)
    first, *others = [calls.submit(item) for item in "abcdef"]  # more than two transactions of two
    engine.closed = True
    await engine.end()
    assert await first == "a"
    assert [type(future.exception()) for future in others] == [Unavailable] * 5
