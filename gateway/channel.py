"""Calls → a gRPC server elsewhere, over a channel: the gateway as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.rpc import code_pb2
from grpc import aio

from gateway.call import Call
from gateway.codec import schema
from gateway.dispatch import Write
from gateway.errors import Failure, Reason, crash, deadline_exceeded, from_rpc
from runner_client.streams import send_all

log = logging.getLogger(__name__)

# gRPC writes these itself; sent as metadata they would be refused or doubled.
_OWN = frozenset({"user-agent", "te", "content-type"})
# gRPC's own words for a deadline that passed before and after the first message came.
_DEADLINE = frozenset({"Deadline Exceeded", "Stream removed (Deadline Exceeded)"})
# And for a connection that broke under a call: the channel's state may say so only a moment later.
_BROKEN = "Stream removed ("


class Channel:
    """A ``Backend`` over a ``grpc.aio.Channel``. Bad requests never reach the server: nothing is sent for them."""

    servicer_asks = False  # it is asked for at once, before the server knows of the call

    def __init__(self, channel: aio.Channel, pool: DescriptorPool | None = None) -> None:
        self._channel = channel
        self._pool = pool if pool is not None else descriptor_pool.Default()
        self._stubs: dict[str, Callable[..., Any]] = {}

    async def unary(self, call: Call, request: Any) -> Any:
        """Runs an RPC with one reply."""
        async with self._under_way(call, request) as rpc:
            if call.opened is not None:
                await _open(call, rpc)
            reply = await rpc
            call.initial[:] = await rpc.initial_metadata() or ()
            call.trailing.extend(await rpc.trailing_metadata() or ())
        return reply

    async def stream(self, call: Call, request: Any, write: Write) -> None:
        """Runs a server-streaming RPC."""
        async with self._under_way(call, request) as rpc:
            await _open(call, rpc)
            async for message in rpc:
                try:
                    await write(message)
                except (asyncio.CancelledError, Failure):
                    raise
                except Exception:
                    raise crash(call.request_id) from None
            call.trailing.extend(await rpc.trailing_metadata() or ())

    @contextlib.asynccontextmanager
    async def _under_way(self, call: Call, request: Any) -> AsyncIterator[Any]:
        """A call that is over behind this, with what it ended with as a ``Failure``."""
        rpc = self._start(call, request)
        requests = None if isinstance(request, Message) else _Requests(call, request, rpc)
        try:
            yield rpc
        except aio.AioRpcError as error:
            raise self._failure(call, error) from None
        except asyncio.CancelledError:
            if requests is not None and requests.failure is not None:
                raise requests.failure from None
            raise
        finally:
            rpc.cancel()  # does nothing to a call that is over
            if requests is not None:
                await requests.stop()

    def _start(self, call: Call, request: Any) -> Any:
        if call.refusal is not None:
            raise call.refusal
        timeout = None
        if call.deadline is not None:
            timeout = max(0.0, call.deadline - asyncio.get_running_loop().time())
        metadata = [(entry.key, entry.value) for entry in call.metadata if _is_sendable(entry.key, entry.value)]
        stub = self._stub(call.method)
        if isinstance(request, Message):
            return stub(request, timeout=timeout, metadata=metadata)
        return stub(timeout=timeout, metadata=metadata)

    def _stub(self, name: str) -> Callable[..., Any]:
        stub = self._stubs.get(name)
        if stub is None:
            service, _, method = name[1:].partition("/")
            descriptor = self._service(service).methods_by_name[method]
            stub = self._stubs[name] = self._make(name, descriptor)
        return stub

    def _service(self, name: str) -> Any:
        """The descriptor of a service. Of those that are compiled in, as health is, the server need not tell."""
        try:
            return cast(Any, self._pool).FindServiceByName(name)
        except KeyError:
            return cast(Any, descriptor_pool.Default()).FindServiceByName(name)

    def _make(self, name: str, method: MethodDescriptor) -> Callable[..., Any]:
        if method.client_streaming:
            make: Any = self._channel.stream_stream if method.server_streaming else self._channel.stream_unary
        else:
            make = self._channel.unary_stream if method.server_streaming else self._channel.unary_unary
        stub: Callable[..., Any] = make(
            name,
            request_serializer=schema.message_class(method.input_type).SerializeToString,
            response_deserializer=schema.message_class(method.output_type).FromString,
        )
        return stub

    def _failure(self, call: Call, error: aio.AioRpcError) -> Failure:
        call.initial[:] = error.initial_metadata() or ()
        call.trailing.extend(error.trailing_metadata() or ())
        code = error.code()
        if code is grpc.StatusCode.OK:
            return Failure(code_pb2.UNKNOWN, "the server ended the call without an answer")
        if code is grpc.StatusCode.DEADLINE_EXCEEDED and error.details() in _DEADLINE:
            return deadline_exceeded()  # noticed by our own end of the channel
        state = self._channel.get_state()
        lost = state is not grpc.ChannelConnectivity.READY or (error.details() or "").startswith(_BROKEN)
        if code is grpc.StatusCode.UNAVAILABLE and lost:
            # gRPC's own words name addresses that are no business of the client's.
            log.error(
                "the server can't be reached: %s",
                error.details(),
                extra={"action": "upstream_lost", "rpc": call.method},
            )
            return Failure(code_pb2.UNAVAILABLE, "the server behind this gateway can't be reached")
        failure = from_rpc(code, error.details() or "", call.trailing, request_id=call.request_id)
        if failure.reason == Reason.INTERNAL:
            extra = {"action": "rpc_crashed", "request_id": call.request_id}
            log.error("%s failed: %s", call.method, error.details(), extra=extra)
        return failure


async def _open(call: Call, rpc: Any) -> None:
    """Waits for the initial metadata of a call."""
    call.initial.extend(await rpc.initial_metadata() or ())
    # A call that fails at once has no entries here, and not yet its status either.
    if call.opened is not None and call.initial:
        call.opened()


def _is_sendable(key: str, value: str | bytes) -> bool:
    return key not in _OWN and (isinstance(value, bytes) or (value.isascii() and value.isprintable()))


class _Requests:
    """The requests of a client stream on their way. Written here rather than by gRPC, whose task for it outlives a call
    that is refused."""

    def __init__(self, call: Call, requests: AsyncIterator[Any], rpc: Any) -> None:
        self.failure: Failure | None = None
        """Why there are no more: the call was cancelled for it."""
        self._task = asyncio.create_task(self._write(call, requests, rpc))

    async def stop(self) -> None:
        """Writes no more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _write(self, call: Call, requests: AsyncIterator[Any], rpc: Any) -> None:
        try:
            await send_all(rpc, requests)
        except Failure as failure:
            self.failure = failure
            rpc.cancel()
        except Exception:
            log.exception("the requests of %s failed", call.method, extra={"action": "requests_failed"})
            self.failure = crash(call.request_id)
            rpc.cancel()
