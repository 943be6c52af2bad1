"""Makes one transaction of calls that come while the one before is on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from runner_service.domain.errors import RunnerError
from runner_service.store.engine import Engine
from runner_service.store.statements import Connection

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
    ) -> None:
        self._engine = engine
        self._function = function
        self._limit = limit
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._flying = False

    def submit(self, item: Item) -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if not self._flying:
            self._launch()
        return future

    def _launch(self) -> None:
        batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
        try:
            flight = self._engine.write(self._function, [item for item, _ in batch])
        except RunnerError as error:
            for _, future in batch:
                _refuse(future, error)
            return
        self._flying = True
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
        if self._waiting:
            self._launch()

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
