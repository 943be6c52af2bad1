"""Makes one transaction of calls that come while the one before is on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from runner_service.domain.errors import RunnerError
from runner_service.store.engine import Engine
from runner_service.store.statements import Connection

PATIENCE_SECONDS = 0.02
"""At most, of those who can wait: a busy worker's exchanges come more often."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Combiner(Generic[Item, Answer]):
    """Hands ``function(conn, items)`` all items that gathered meanwhile. Alone, an item goes at once.

    The function answers each item, or refuses it by a `RunnerError` in the place of its answer. When it raises, the
    items are tried one by one, so that one that the database does not take harms no other.
    """

    def __init__(
        self,
        engine: Engine,
        function: Callable[[Connection, Sequence[Item]], Sequence[Answer | RunnerError]],
        *,
        limit: int,
        before: Callable[[], None] = lambda: None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        """``before``: called before each transaction, so that what can wait elsewhere goes along with it."""
        self._engine = engine
        self._function = function
        self._limit = limit
        self._before = before
        self._patience = patience
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._flying = False
        self._urgent = False
        """Somebody waits who cannot, or not any longer."""
        self._timer: asyncio.TimerHandle | None = None

    def submit(self, item: Item, *, patient: bool = False) -> asyncio.Future[Answer]:
        """``patient``: it can wait for `go_along`, though not for long."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((item, future))
        if not patient:
            self._hurry()
        elif self._timer is None:
            self._timer = loop.call_later(self._patience, self._hurry)
        return future

    def go_along(self) -> None:
        """Others are about to write."""
        if self._waiting and not self._flying:
            self._launch()

    def _hurry(self) -> None:
        self._urgent = True
        self.go_along()

    def _launch(self) -> None:
        self._flying, self._urgent = True, False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._before()
        batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
        if self._waiting:
            self._urgent = True
        try:
            flight = self._engine.write(self._function, [item for item, _ in batch])
        except RunnerError as error:
            self._flying = False
            for _, future in batch:
                _refuse(future, error)
            if self._urgent:
                self.go_along()  # Nothing is under way whose end would see to the others.
            return
        flight.add_done_callback(lambda done: self._land(batch, done))

    def _land(
        self,
        batch: Sequence[tuple[Item, asyncio.Future[Answer]]],
        done: asyncio.Future[Sequence[Answer | RunnerError]],
    ) -> None:
        self._flying = False
        error = done.exception()
        if error is None:
            for (_, future), answer in zip(batch, done.result(), strict=True):
                if isinstance(answer, RunnerError):
                    _refuse(future, answer)
                elif not future.done():
                    future.set_result(answer)
        elif len(batch) == 1:
            _refuse(batch[0][1], error)
        else:
            for item, future in batch:
                self._alone(item, future)
        if self._urgent:
            self.go_along()

    def _alone(self, item: Item, future: asyncio.Future[Answer]) -> None:
        try:
            flight = self._engine.write(self._function, [item])
        except RunnerError as error:
            _refuse(future, error)
            return

        def land(done: asyncio.Future[Sequence[Answer | RunnerError]]) -> None:
            error = done.exception()
            answer: Any = error or done.result()[0]
            if isinstance(answer, BaseException):
                _refuse(future, answer)
            elif not future.done():
                future.set_result(answer)

        flight.add_done_callback(land)


def _refuse(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
