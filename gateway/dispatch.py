"""Calls → servicers, in this process: through the server's interceptors, with messages as objects.

``Backend`` is the seam: ``InProcess`` here, ``channel.Channel`` for a server elsewhere.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import grpc
from google.rpc import code_pb2
from grpc import aio
from grpc_status import rpc_status

from gateway.context import Call, Context
from gateway.errors import Failure, crash, deadline_exceeded, from_rpc

log = logging.getLogger(__name__)

Handler = Any  # grpc.RpcMethodHandler, whose attributes the stubs don't know
Write = Callable[[Any], Awaitable[None]]
Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Handler]]


class Backend(Protocol):
    """Where calls go. Both methods may run for many calls at once, are cancelled when the client leaves, and raise
    ``Failure`` and nothing else (but ``CancelledError``). Reply metadata is left in ``call``.

    ``request`` is a message; for client-streaming RPCs an async iterator of messages.
    """

    async def unary(self, call: Call, request: Any) -> Any:
        """Runs an RPC with one reply and returns its message."""
        ...

    async def stream(self, call: Call, request: Any, write: Write) -> None:
        """Runs a server-streaming RPC; awaits ``write`` for every message, in order."""
        ...


class HandlerCapture:
    """Stands in for the server object of generated ``add_…Servicer_to_server`` functions, and keeps what they add."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}
        self.generic_handlers: list[Any] = []

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Keeps handlers that are found by asking; used where no registered handler has the method."""
        self.generic_handlers.extend(generic_rpc_handlers)

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Handler]) -> None:
        """Keeps the handlers of one service."""
        for name, handler in method_handlers.items():
            self.handlers[f"/{service_name}/{name}"] = handler

    def services(self) -> list[str]:
        """Full names of the services captured, in order."""
        return list(dict.fromkeys(method.split("/")[1] for method in self.handlers))


class CallDetails(grpc.HandlerCallDetails):
    """What interceptors are told of a call."""

    __slots__ = ("invocation_metadata", "method")

    def __init__(self, method: str, invocation_metadata: Any) -> None:
        self.method = method
        self.invocation_metadata = invocation_metadata


class InProcess:
    """A backend that calls captured handlers in the running event loop."""

    def __init__(self, handlers: HandlerCapture, interceptors: Sequence[aio.ServerInterceptor] = ()) -> None:
        self._handlers = handlers.handlers
        self._generic = handlers.generic_handlers
        self._interceptors = tuple(interceptors)
        # The chain depends on nothing but the interceptors: made once, it costs nothing per call.
        self._resolve = self._chain(self._find)

    async def unary(self, call: Call, request: Any) -> Any:
        context = Context(call, requests=_as_iterator(request))
        replies: list[Any] = []

        async def keep(message: Any) -> None:
            replies.append(message)

        await self._guarded(context, request, keep)
        if not replies:
            log.error(
                "%s returned no message", call.method, extra={"action": "no_reply", "request_id": call.request_id}
            )
            raise crash(call.request_id)
        return replies[0]

    async def stream(self, call: Call, request: Any, write: Write) -> None:
        await self._guarded(Context(call, write, _as_iterator(request)), request, write)

    async def _guarded(self, context: Context, request: Any, write: Write) -> None:
        """Runs a call to its end; whatever goes wrong leaves as a ``Failure``."""
        call = context.call
        try:
            if call.deadline is None:
                await self._run(context, request, write)
            else:
                await self._run_in_time(context, request, write, call.deadline)
        except asyncio.CancelledError:
            context.cancel()
            raise
        except Failure:
            raise
        except Exception as error:
            if context.aborted:
                raise _failure(context) from None
            if context.code() is not grpc.StatusCode.OK:
                raise _failure(context) from error
            log.exception("%s failed", call.method, extra={"action": "rpc_crashed", "request_id": call.request_id})
            raise crash(call.request_id) from None
        finally:
            context.finish()
        if context.code() is not grpc.StatusCode.OK:
            raise _failure(context)

    async def _run_in_time(self, context: Context, request: Any, write: Write, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline) as limit:
                await self._run(context, request, write)
        except TimeoutError:
            if not limit.expired():
                raise
            raise deadline_exceeded() from None

    async def _run(self, context: Context, request: Any, write: Write) -> None:
        call = context.call
        resolve = self._resolve if call.refusal is None else self._chain(self._refuser(call, call.refusal))
        handler = await resolve(CallDetails(call.method, call.metadata))
        if handler is None:
            raise Failure(code_pb2.UNIMPLEMENTED, "this method is not served here")
        result = _behaviour(handler)(request, context)
        # Nearly always a coroutine; asking in general costs as much as the rest of the call.
        if type(result) is types.CoroutineType or inspect.isawaitable(result):
            result = await result
            # A streaming handler that is a coroutine has written by itself and returns nothing.
            if not handler.response_streaming:
                await write(result)
        elif hasattr(result, "__aiter__"):
            try:
                async for message in result:
                    await write(message)
            finally:
                close = getattr(result, "aclose", None)
                if close is not None:
                    await close()
        elif handler.response_streaming:
            raise TypeError("a streaming handler must be asynchronous")
        else:
            await write(result)

    async def _find(self, details: Any) -> Handler:
        handler = self._handlers.get(details.method)
        if handler is None:
            for generic in self._generic:
                handler = generic.service(details)
                if handler is not None:
                    break
        return handler

    def _chain(self, innermost: Continuation) -> Continuation:
        continuation = innermost
        for interceptor in reversed(self._interceptors):
            continuation = _link(interceptor, continuation)
        return continuation

    def _refuser(self, call: Call, refusal: Failure) -> Continuation:
        """A lookup whose handlers refuse every call, in the shape of the real ones, so that interceptors wrap them."""

        async def refuse(_: Any, context: Any) -> Any:
            call.refused = True
            await context.abort_with_status(rpc_status.to_status(refusal.to_status()))

        async def refuse_stream(request: Any, context: Any) -> AsyncIterator[Any]:
            await refuse(request, context)
            yield  # never reached; makes this a generator, as the handlers it stands for are

        async def find(details: Any) -> Handler:
            handler = await self._find(details)
            if handler is None:
                return None
            make = _MAKERS[handler.request_streaming, handler.response_streaming]
            return make(refuse_stream if handler.response_streaming else refuse)

        return find


_MAKERS: dict[tuple[bool, bool], Callable[..., Handler]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def _link(interceptor: Any, continuation: Continuation) -> Continuation:
    async def resolve(details: grpc.HandlerCallDetails) -> Handler:
        return await interceptor.intercept_service(continuation, details)

    return resolve


def _behaviour(handler: Handler) -> Callable[[Any, Any], Any]:
    if handler.request_streaming:
        found = handler.stream_stream if handler.response_streaming else handler.stream_unary
    else:
        found = handler.unary_stream if handler.response_streaming else handler.unary_unary
    return found  # type: ignore[no-any-return]


def _as_iterator(request: Any) -> AsyncIterator[Any] | None:
    return request if hasattr(request, "__anext__") else None


def _failure(context: Context) -> Failure:
    """What a call ended with. Its own refusal comes back whole: a Status has no room for all of it."""
    if context.call.refused and context.call.refusal is not None:
        return context.call.refusal
    return from_rpc(context.code(), context.details(), context.call.trailing)
