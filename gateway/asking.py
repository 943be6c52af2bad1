"""For gRPC servers behind a gateway: they tell it when a servicer asks for what its client has to say.

That is when the gateway accepts a WebSocket. In process it sees it. Over a channel gRPC asks in the servicer's place,
and at once; without a word from the server, a handshake then waits ``GatewayOptions.first_message_seconds``.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pool import DescriptorPool
from grpc import aio

from gateway.annotations import method_rules
from runner.gateway.v1 import options_pb2 as options

_ASKED = (("x-gateway-asked", "true"),)


class AskingInterceptor(aio.ServerInterceptor):
    """Sends initial metadata when a servicer asks for the first request of a WebSocket. Make it the last interceptor:
    what those before it refuse is then answered in plain HTTP.

    Only for RPCs that are served over WebSocket and let the client speak first: whose servicers, that is, wait for the
    first request before they send anything, and iterate over requests rather than ``context.read()`` them.
    """

    def __init__(self, pool: DescriptorPool | None = None) -> None:
        self._pool: Any = pool if pool is not None else descriptor_pool.Default()
        # By RPC; a wrapper is the same object for the same handler, as interceptors outside may count on.
        self._known: dict[str, tuple[Any, Any]] = {}

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = await continuation(details)
        if handler is None or not handler.request_streaming:
            return handler
        known = self._known.get(details.method)
        if known is None or known[0] is not handler:
            made = _telling(handler) if self._is_socket(details.method) else handler
            known = self._known[details.method] = (handler, made)
        return known[1]

    def _is_socket(self, rpc: str) -> bool:
        service, _, name = rpc[1:].partition("/")
        try:
            method = self._pool.FindServiceByName(service).methods_by_name[name]
        except KeyError:
            return False
        rules = method_rules(method)
        return options.STREAM_MODE_WEBSOCKET in rules.stream_modes and not rules.speaks_first


def _telling(handler: Any) -> Any:
    if handler.response_streaming:
        make, behavior = grpc.stream_stream_rpc_method_handler, handler.stream_stream
    else:
        make, behavior = grpc.stream_unary_rpc_method_handler, handler.stream_unary
    return make(
        _wrapped(behavior),
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )


def _wrapped(behavior: Callable[..., Any]) -> Callable[..., Any]:
    """In the shape of what it wraps: grpc.aio looks at that."""

    async def stream(requests: Any, context: Any) -> AsyncIterator[Any]:
        async for message in behavior(_asked(requests, context), context):
            yield message

    async def call(requests: Any, context: Any) -> Any:
        return await behavior(_asked(requests, context), context)

    return stream if inspect.isasyncgenfunction(behavior) else call


async def _asked(requests: Any, context: Any) -> AsyncIterator[Any]:
    await context.send_initial_metadata(_ASKED)
    async for request in requests:
        yield request
