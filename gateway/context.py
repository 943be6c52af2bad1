"""The ``grpc.aio.ServicerContext`` of a call that came over HTTP and never leaves the process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

import grpc
from google.protobuf.message import Message
from grpc import aio

from gateway.call import Call, Entries

log = logging.getLogger(__name__)


class Context(aio.ServicerContext[Any, Any]):
    """What servicers and interceptors get; behaves as grpc.aio's own, minus the wire."""

    # How every call begins; most end so too, and need no attributes of their own.
    aborted = False
    failed = False
    """The servicer has set a status other than OK."""
    _code: grpc.StatusCode = grpc.StatusCode.OK
    _details = ""
    _cancelled = False
    _done = False
    _callbacks: Sequence[Callable[[Any], None]] = ()

    def __init__(
        self,
        call: Call,
        write: Callable[[Any], Awaitable[None]] | None = None,
        request: Any = None,
    ) -> None:
        """``request`` is a message; for client streams an async iterator of messages."""
        self.call = call
        self._write = write
        self._request = request

    async def read(self) -> Any:
        """The next request message of a client stream; ``grpc.aio.EOF`` after the last."""
        if self._request is None or isinstance(self._request, Message):
            raise aio.UsageError("this call has no request stream")
        try:
            return await anext(self._request)
        except StopAsyncIteration:
            return aio.EOF

    async def write(self, message: Any) -> None:
        """Sends one message of a server stream; returns when there is room for the next."""
        if self._write is None:
            raise aio.UsageError("this call has no response stream")
        await self._write(message)

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        self.call.initial.extend(_entries(initial_metadata))
        if self.call.opened is not None and self.call.initial:
            self.call.opened()

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> NoReturn:
        if self.aborted:
            raise aio.UsageError("Abort already called!")
        if code is grpc.StatusCode.OK:
            raise TypeError("OK is no status to abort with")
        self.aborted = self.failed = True
        self._code, self._details = code, details
        # Added to what is there, not in its place as grpc.aio has it: what an interceptor says of every reply (how
        # much of a limit is left) holds for errors too.
        self.call.trailing.extend(_entries(trailing_metadata))
        raise aio.AbortError("Locally aborted.")

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        given: Any = status
        await self.abort(given.code, given.details, given.trailing_metadata or ())

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        self.call.trailing[:] = _entries(trailing_metadata)

    def trailing_metadata(self) -> Any:
        return tuple(self.call.trailing)

    def invocation_metadata(self) -> Any:
        return self.call.metadata

    def set_code(self, code: grpc.StatusCode) -> None:
        self._code = code
        self.failed = code is not grpc.StatusCode.OK

    def code(self) -> Any:
        return self._code

    def set_details(self, details: str) -> None:
        self._details = details

    def details(self) -> Any:
        return self._details

    def set_compression(self, compression: grpc.Compression) -> None:
        """Nothing to compress: messages are handed over as objects."""

    def disable_next_message_compression(self) -> None:
        """Nothing to compress: messages are handed over as objects."""

    def peer(self) -> str:
        return self.call.peer

    def peer_identities(self) -> Iterable[bytes] | None:
        return None

    def peer_identity_key(self) -> str | None:
        return None

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return {"transport_security_type": [b"ssl"]} if self.call.secure else {}

    def time_remaining(self) -> Any:
        """Seconds until the deadline; None when the client set none."""
        if self.call.deadline is None:
            return None
        return max(0.0, self.call.deadline - asyncio.get_running_loop().time())

    def cancelled(self) -> bool:
        return self._cancelled

    def done(self) -> bool:
        """Whether the call is over."""
        return self._done

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._callbacks = (*self._callbacks, callback)

    def cancel(self) -> None:
        """Marks the call as given up by its client."""
        self._cancelled = True

    def finish(self) -> None:
        """Ends the call and runs the done callbacks; a second call does nothing."""
        if self._done:
            return
        self._done = True
        for callback in self._callbacks:
            try:
                callback(self)
            except Exception:
                log.exception("a done callback failed", extra={"action": "callback_failed", "rpc": self.call.method})


def _entries(metadata: Any) -> Entries:
    return [(entry[0], entry[1]) for entry in metadata or ()]
