"""The client for code without a loop: the calls of :class:`AsyncClient`, on a loop of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from runner_client.client import AsyncClient

Options = ParamSpec("Options")
Result = TypeVar("Result")


class Client:
    """One server, for one thread; a context manager. Takes what :class:`AsyncClient` takes.

    ::

        with Client() as client:
            command = client.call(AsyncClient.run, ["make", "test"])
            for message in client.each(AsyncClient.follow, command.job_id):
                ...
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._loop = asyncio.Runner()

        async def make() -> AsyncClient:
            return AsyncClient(*args, **options)

        self._client = self._loop.run(make())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._loop.run(self._client.close())
        self._loop.close()

    def call(
        self,
        method: Callable[Concatenate[AsyncClient, Options], Coroutine[Any, Any, Result]],
        *args: Options.args,
        **options: Options.kwargs,
    ) -> Result:
        """Makes one call and returns what it returns."""
        return self._loop.run(method(self._client, *args, **options))

    def each(
        self,
        method: Callable[Concatenate[AsyncClient, Options], AsyncIterator[Result]],
        *args: Options.args,
        **options: Options.kwargs,
    ) -> Iterator[Result]:
        """Yields what a call yields, as it comes."""
        stream = method(self._client, *args, **options)

        async def following() -> tuple[Result, ...]:
            async for item in stream:
                return (item,)
            return ()

        try:
            while item := self._loop.run(following()):
                yield from item
        finally:
            if (close := getattr(stream, "aclose", None)) is not None:
                self._loop.run(close())
