"""The one place where calls are made: credential, deadline, retries, errors of our tree, streams that resume."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol, TypeVar

from grpc import StatusCode, aio

from runner_client.errors import ClientError, Unavailable, from_rpc_error
from runner_client.requests import new_request_id
from runner_client.retry import CAP_SECONDS, Retry

CALL_SECONDS = 30.0
"""Deadline of a unary call. Calls that park at the server add what they asked for."""

Reply = TypeVar("Reply")
Metadata = tuple[tuple[str, str], ...]
Unary = Callable[..., Awaitable[Reply]]


class Stream(Protocol[Reply]):
    """What is used of a server stream."""

    def __call__(self, request: Any, *, metadata: Metadata) -> aio.UnaryStreamCall[Any, Reply]: ...


class Caller:
    """Makes calls for one client.

    Every call made through here must be safe to make twice: mutations carry a ``request_id``. A server that has
    answered before is waited for ``patience`` seconds when it goes away, one that never has ``connect_patience``.
    """

    def __init__(
        self, *, token: str | None, patience: float, connect_patience: float, retry: Callable[[float], Retry] = Retry
    ) -> None:
        self._metadata: Metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._patience = patience
        self._connect_patience = connect_patience
        self._retry = retry
        self._reached = False

    @property
    def metadata(self) -> Metadata:
        """What every call shows."""
        return self._metadata

    def reached(self) -> None:
        """The server has answered: from now on it is waited for when it goes away."""
        self._reached = True

    def met(self, error: aio.AioRpcError) -> ClientError:
        """The error of our tree for a call that failed."""
        ours = from_rpc_error(error)
        # Only a server that is there can send another code, or a reason of its own.
        self._reached = self._reached or error.code() is not StatusCode.UNAVAILABLE or ours.reason != Unavailable.reason
        return ours

    def retry(self) -> Retry:
        return self._retry(self._patience if self._reached else self._connect_patience)

    async def unary(self, method: Unary[Reply], request: Any, *, seconds: float = CALL_SECONDS) -> Reply:
        """Returns the reply; raises a :class:`ClientError`. A mutation without a request id gets one."""
        if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:
            request.request_id = new_request_id()
        retry = self.retry()
        while True:
            try:
                reply = await method(request, timeout=seconds, metadata=self._metadata)
            except aio.AioRpcError as error:
                await retry.pause(self.met(error))
            else:
                self._reached = True
                return reply

    async def stream(
        self, method: Stream[Reply], request: Any, *, passed: Callable[[Reply], bool]
    ) -> AsyncIterator[Reply]:
        """Yields the messages of a stream up to its last one, and opens it again whenever it is cut.

        ``passed`` is told each message that was dealt with and answers whether it was the last; it keeps the
        place behind it in ``request``, which is sent again as it then is.
        Raises a :class:`ClientError` when the server refuses, or stays away for longer than patience.
        """
        retry = self.retry()
        while True:
            opened = time.monotonic()
            call = method(request, metadata=self._metadata)
            try:
                async for message in call:
                    if not self._reached:
                        self._reached, retry = True, self._retry(self._patience)
                    retry.progress()
                    yield message
                    if passed(message):
                        return
                cut: ClientError = Unavailable("The stream stopped before its end.")
            except aio.AioRpcError as error:
                cut = self.met(error)
            finally:
                call.cancel()
            if time.monotonic() - opened > CAP_SECONDS:
                # It was quiet, not away: patience counts from this cut.
                retry.progress()
            await retry.pause(cut)
