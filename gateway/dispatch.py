"""Calls → servicers, in this process: through the server's interceptors, with messages as objects.

``Backend`` is the seam: ``InProcess`` here, ``channel.Channel`` for a server elsewhere.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import grpc
from google.rpc import code_pb2
from grpc import aio
from grpc_status import rpc_status

from gateway.call import Call
from gateway.context import Context
from gateway.departure import rest
from gateway.errors import Failure, crash, deadline_exceeded, from_rpc

log = logging.getLogger(__name__)

T = TypeVar("T")
Handler = Any  # grpc.RpcMethodHandler, whose attributes the stubs don't know
Write = Callable[[Any], Awaitable[None]]
Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Handler]]


class Backend(Protocol):
    """Where calls go. Both methods may run for many calls at once, are cancelled when the client leaves, and raise
    ``Failure`` and nothing else (but ``CancelledError``). Reply metadata is left in ``call``.

    ``request`` is a message; for client-streaming RPCs an async iterator of messages.
    """

    servicer_asks: bool
    """It is the servicer that asks for the messages of a client stream, so that it has been let in when it does."""

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

    def __init__(self, call: Call) -> None:
        self._call = call
        self.method = call.method

    @property
    def invocation_metadata(self) -> Any:  # type: ignore[override] # nobody sets it
        """Read off the request's headers when an interceptor asks."""
        return self._call.metadata


class InProcess:
    """A backend that calls captured handlers in the running event loop."""

    servicer_asks = True

    def __init__(self, handlers: HandlerCapture, interceptors: Sequence[aio.ServerInterceptor] = ()) -> None:
        self._handlers = handlers.handlers
        self._generic = handlers.generic_handlers
        self._interceptors = tuple(interceptors)
        # The chain depends on nothing but the interceptors: made once, it costs nothing per call.
        self._resolve = self._chain(self._find)
        # Where nobody comes between, the servicer's method is called at once.
        self._direct = {} if interceptors else {rpc: _behaviour(handler) for rpc, handler in self._handlers.items()}

    async def unary(self, call: Call, request: Any) -> Any:
        context = Context(call, None, request)
        try:
            direct = self._direct.get(call.method) if call.refusal is None else None
            reply = self._reply(context, request) if direct is None else direct(request, context)
            if type(reply) is types.CoroutineType or _waits(reply):
                reply = await (reply if call.deadline is None else _in_time(reply, call.deadline))
        except BaseException as error:
            raise _translated(context, error) from None
        finally:
            context.finish()
        if context.failed:
            raise _failure(context)
        if reply is None:
            log.error(
                "%s returned no message", call.method, extra={"action": "no_reply", "request_id": call.request_id}
            )
            raise crash(call.request_id)
        return reply

    async def stream(self, call: Call, request: Any, write: Write) -> None:
        context = Context(call, write, request)
        try:
            if call.deadline is None:
                await self._write_all(context, request, write)
            else:
                await _in_time(self._write_all(context, request, write), call.deadline)
        except BaseException as error:
            raise _translated(context, error) from None
        finally:
            context.finish()
        if context.failed:
            raise _failure(context)

    async def _reply(self, context: Context, request: Any) -> Any:
        """The one message of a call."""
        result = _behaviour(await self._handler(context.call))(request, context)
        return await result if _waits(result) else result

    async def _write_all(self, context: Context, request: Any, write: Write) -> None:
        """All messages of a call."""
        result = _behaviour(await self._handler(context.call))(request, context)
        if hasattr(result, "__aiter__"):
            try:
                async for message in result:
                    await write(message)
            finally:
                close = getattr(result, "aclose", None)
                if close is not None:
                    await close()
        elif inspect.isawaitable(result):
            # A streaming handler that is a coroutine has written by itself and returns nothing.
            await result
        else:
            raise TypeError("a streaming handler must be asynchronous")

    async def _handler(self, call: Call) -> Handler:
        if call.refusal is not None:
            handler = await self._chain(self._refuser(call, call.refusal))(CallDetails(call))
        else:
            handler = await self._resolve(CallDetails(call))
        if handler is None:
            raise Failure(code_pb2.UNIMPLEMENTED, "this method is not served here")
        return handler

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
    return partial(interceptor.intercept_service, continuation)


def _waits(result: Any) -> bool:
    # Nearly always a coroutine; asking in general costs as much as the rest of the call.
    return type(result) is types.CoroutineType or inspect.isawaitable(result)


def _behaviour(handler: Handler) -> Callable[[Any, Any], Any]:
    if handler.request_streaming:
        found = handler.stream_stream if handler.response_streaming else handler.stream_unary
    else:
        found = handler.unary_stream if handler.response_streaming else handler.unary_unary
    return found  # type: ignore[no-any-return]


async def _in_time(work: Awaitable[T], deadline: float) -> T:
    """The result of work that fails when it is not done by ``deadline``. Only what has to wait needs a timer."""
    begun = work.__await__()
    try:
        waiting_for = next(begun)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    try:
        async with asyncio.timeout_at(deadline) as limit:
            return await rest(begun, waiting_for)
    except TimeoutError:
        if not limit.expired():
            raise
        raise deadline_exceeded() from None


def _translated(context: Context, error: BaseException) -> BaseException:
    """What a call that raised leaves with: a ``Failure``, but for cancellation and what ends the process."""
    if isinstance(error, asyncio.CancelledError):
        context.cancel()
        return error
    if isinstance(error, Failure) or not isinstance(error, Exception):
        return error
    if context.aborted or context.failed:
        return _failure(context)
    call = context.call
    log.error("%s failed", call.method, exc_info=error, extra={"action": "rpc_crashed", "request_id": call.request_id})
    return crash(call.request_id)


def _failure(context: Context) -> Failure:
    """What a call ended with. Its own refusal comes back whole: a Status has no room for all of it."""
    if context.call.refused and context.call.refusal is not None:
        return context.call.refusal
    return from_rpc(context.code(), context.details(), context.call.trailing, request_id=context.call.request_id)
