"""Noticing that a client has left, at no cost for calls that are answered at once."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")
Receive = Callable[[], Awaitable[dict[str, Any]]]


class ClientLeft(Exception):
    """The client closed the connection before its reply was complete."""


async def until_gone(receive: Receive) -> None:
    """Returns when the client has left. Only for requests whose body was read."""
    while (await receive())["type"] not in ("http.disconnect", "websocket.disconnect"):
        pass


async def unless_gone(work: Coroutine[Any, Any, T], waiting_for: Any, receive: Receive) -> T:
    """Runs what is left of a coroutine in this task; cancels it, and raises ``ClientLeft``, when the client leaves.

    The work was begun (``waiting_for = work.send(None)``) and waits for something: only then is a watch on the
    connection worth its cost, and most calls never do.
    """
    task = asyncio.current_task()
    assert task is not None
    gone = False

    async def watch_client() -> None:
        nonlocal gone
        await until_gone(receive)
        gone = True
        task.cancel()

    watch = asyncio.create_task(watch_client())
    try:
        result = await rest(work, waiting_for)
        if gone:  # the work took the cancellation and answered all the same
            task.uncancel()
        return result
    except asyncio.CancelledError:
        if gone and task.uncancel() == 0:
            raise ClientLeft from None
        raise
    finally:
        watch.cancel()


@types.coroutine
def rest(work: Coroutine[Any, Any, T] | Generator[Any, Any, T], waiting_for: Any) -> Generator[Any, Any, T]:
    """``await work``, for work that was begun and waits for something."""
    while True:
        thrown: BaseException | None = None
        result = None
        try:
            result = yield waiting_for
        except BaseException as error:
            thrown = error
        try:
            waiting_for = work.send(result) if thrown is None else work.throw(thrown)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
