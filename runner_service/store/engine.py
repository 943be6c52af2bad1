"""What both engines share: units of work, the threads that run them, and the way back to the event loop."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from runner_service.domain.errors import Unavailable
from runner_service.store.statements import Connection

NO_NUL = "it holds a NUL character, which is stored nowhere"

P = ParamSpec("P")
T = TypeVar("T")


class Engine(Protocol):
    """Runs query functions in transactions, off the event loop."""

    shared: bool
    """Other servers may use the same database."""

    def write(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        """Runs ``function(conn, *args)`` in a transaction. The future is done when it is durable, or has failed and
        changed nothing. Cancelling the future only stops the waiting: the unit is run all the same."""
        ...

    def read(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        """Runs ``function(conn, *args)``, which changes nothing. Sees every write whose future is done."""
        ...

    @property
    def reachable(self) -> bool:
        """False while the database does not answer."""
        ...

    async def close(self) -> None:
        """Finishes what was asked for and stops. May be called twice."""
        ...


class Unit:
    """A function call that waits for its transaction, and then for its caller to hear of it."""

    __slots__ = ("call", "error", "function", "future", "result", "wrote")

    def __init__(
        self, function: Callable[..., Any], call: Callable[[Connection], Any], future: asyncio.Future[Any]
    ) -> None:
        self.function = function
        """What ``call`` calls, which names its crash points."""
        self.call = call
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None
        self.wrote = False
        """It has changed something in its transaction."""

    def settle(self) -> None:
        # A caller that was cancelled has a future that is done already.
        if not self.future.done():
            if self.error is not None:
                self.future.set_exception(self.error)
            else:
                self.future.set_result(self.result)


def _settle_all(units: Sequence[Unit]) -> None:
    for unit in units:
        unit.settle()


class Lane:
    """A queue of units and the threads that take from it.

    Each of ``works`` runs in a thread of its own for its whole life: it calls `take` until there is nothing more, and
    hands back what it took by `deliver`.
    """

    def __init__(self, name: str, works: Sequence[Callable[[Lane], None]]) -> None:
        self._queue: queue.SimpleQueue[Unit | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._threads = [
            threading.Thread(target=work, args=(self,), name=f"store-{name}-{number}", daemon=True)
            for number, work in enumerate(works)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def closed(self) -> bool:
        """Nothing more is asked for, and its threads end."""
        return self._closed

    def submit(self, function: Callable[..., Any], call: Callable[[Connection], Any]) -> asyncio.Future[Any]:
        """Queues ``call``, which calls ``function`` with the arguments that it was asked for with."""
        if self._closed:
            raise Unavailable
        unit = Unit(function, call, self._loop.create_future())
        self._queue.put(unit)
        return unit.future

    def deliver(self, units: Sequence[Unit]) -> None:
        """Tells the callers, in one visit to the event loop. Called from a thread of the lane."""
        try:
            self._loop.call_soon_threadsafe(_settle_all, units)
        except RuntimeError:
            # The loop is closed: nobody is left to be told.
            pass

    def hand_back(self, units: Sequence[Unit]) -> None:
        """Leaves units to another thread. Called from a thread of the lane that took them and has not run them."""
        try:
            self._loop.call_soon_threadsafe(self._put_back, units)
        except RuntimeError:
            # The loop is closed: nobody is left to be told.
            pass

    def _put_back(self, units: Sequence[Unit]) -> None:
        for unit in units:
            if self._closed:
                unit.error = Unavailable()
                unit.settle()
            else:
                self._queue.put(unit)

    def take(self, limit: int) -> list[Unit]:
        """Blocks for a unit, drains up to ``limit``; empty at the end. Called from a thread of the lane."""
        first = self._queue.get()
        if first is None:
            self._queue.put(None)  # for the other threads
            return []
        units = [first]
        while len(units) < limit:
            try:
                unit = self._queue.get_nowait()
            except queue.Empty:
                break
            if unit is None:
                self._queue.put(None)
                break
            units.append(unit)
        return units

    async def close(self) -> None:
        """Runs what is queued, then ends the threads. May be called twice."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        # Let the last deliveries arrive before the loop goes on to close.
        await asyncio.sleep(0)
