"""The gRPC server: servicers, health, reflection, and the channel arguments that matter."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio

from runner_service.rpc.reflection import add_reflection

Registration = Callable[[Any], None]
"""Adds a servicer to a server, or to what stands in for one."""

Handler = Any
"""A `grpc.RpcMethodHandler`, whose parameters grpcio's types leave open."""

BIND_SECONDS = 2.0
"""A dialling client can hold a port of the ephemeral range for a moment while the server restarts."""
_BIND_AGAIN_SECONDS = 0.1
WATCH_SECONDS = 1.0
"""Between looks whether the server is able to take work."""
MAX_MESSAGE_BYTES = 16 * 1024 * 1024

_OPTIONS: Sequence[tuple[str, Any]] = (
    # Else a second server binds the same port without a word.
    ("grpc.so_reuseport", 0),
    # The defaults drop calls when thousands of workers reconnect at the same time.
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 200_000),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # Workers ping to notice a dead network: that is no abuse.
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


class ServerTls(NamedTuple):
    """The files that a listener speaks TLS with."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    """Clients must show a certificate signed by one of these."""


class BindError(Exception):
    """The address cannot be listened on."""


class RpcServer:
    """A `grpc.aio` server on any number of addresses."""

    def __init__(
        self,
        *,
        registrations: Sequence[Registration],
        services: Sequence[str],
        interceptors: Sequence[grpc.aio.ServerInterceptor],
    ) -> None:
        """``interceptors``, the first outermost, are asked once for each method, when the server starts."""
        self._server = grpc.aio.server(options=list(_OPTIONS))
        self._health = health_aio.HealthServicer()
        self._services = services
        self._interceptors = interceptors
        self._refusing = False
        self._methods = _Methods()
        for register in registrations:
            register(self._methods)
        self.add_health(self._methods)
        add_reflection([*services, "grpc.health.v1.Health"], self._methods)

    def add_health(self, server: Any) -> None:
        """Adds the health of this server to another one, or to what stands in for one."""
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)

    async def listen(self, address: str, *, tls: ServerTls | None = None) -> int:
        """Binds an address, HOST:PORT or ``unix:PATH``, and returns the port.

        Raises:
            BindError: Another process has it; said after two seconds of trying.
        """
        credentials = None
        if tls is not None:
            credentials = grpc.ssl_server_credentials(
                [(tls.key.read_bytes(), tls.certificate.read_bytes())],
                root_certificates=tls.client_ca.read_bytes() if tls.client_ca else None,
                require_client_auth=tls.client_ca is not None,
            )
        deadline = time.monotonic() + BIND_SECONDS
        while True:
            try:
                _probe(address)
                if credentials is None:
                    return int(self._server.add_insecure_port(address))
                return int(self._server.add_secure_port(address, credentials))
            except (OSError, RuntimeError) as error:
                if time.monotonic() > deadline or isinstance(error, socket.gaierror):
                    why = f"{_why(error)} — end what listens there, or name another address"
                    raise BindError(f"cannot listen on {address}: {why}") from None
            await asyncio.sleep(_BIND_AGAIN_SECONDS)

    async def start(self) -> None:
        await self._methods.intercept(self._interceptors)
        self._server.add_generic_rpc_handlers([self._methods])
        await self._server.start()
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)

    async def watch(self, able: Callable[[], bool], *, seconds: float = WATCH_SECONDS) -> None:
        """Tells health clients when this server is not ``able`` to take work, and when it is again; until cancelled."""
        told = True
        while True:
            await asyncio.sleep(seconds)
            if able() != told and not self._refusing:
                told = not told
                await self._set_health(
                    health_pb2.HealthCheckResponse.SERVING if told else health_pb2.HealthCheckResponse.NOT_SERVING
                )

    async def refuse(self) -> None:
        """Tells health clients that no new work is taken."""
        self._refusing = True
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)

    async def stop(self, grace: float) -> None:
        """Takes no new calls, gives those under way ``grace`` seconds. May be called twice."""
        await self._server.stop(grace)

    async def _set_health(self, status: Any) -> None:
        for service in ("", *self._services):
            await self._health.set(service, status)


class _Methods(grpc.GenericRpcHandler):
    """Every method of the server by its path; stands in for the server where servicers are added.

    Given servicers and interceptors gRPC goes through all of them for each call, a coroutine per interceptor. Ours
    decide by the method alone, so that the way through them is gone once. Nor are methods registered with gRPC one by
    one: it would wait for the next call of each of them apart, and with some hundred methods that waiting, made anew
    for every call, costs more than the call.
    """

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """They are among the registered ones, too."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        self._handlers |= {f"/{service}/{name}": handler for name, handler in handlers.items()}

    async def intercept(self, interceptors: Sequence[grpc.aio.ServerInterceptor]) -> None:
        for interceptor in reversed(interceptors):
            for path in self._handlers:
                self._handlers[path] = await interceptor.intercept_service(self._find, _Method(path))

    async def _find(self, details: grpc.HandlerCallDetails) -> Handler:
        return self._handlers[details.method]

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        return self._handlers.get(handler_call_details.method)


class _Method(grpc.HandlerCallDetails):
    """What interceptors are told of the calls of a method."""

    def __init__(self, path: str) -> None:
        self.method = path
        self.invocation_metadata = ()


def _probe(address: str) -> None:
    """Binds and lets go, because a failure of gRPC's own bind is printed to standard error by its core."""
    if address.startswith("unix:"):
        return
    host, _, port = address.rpartition(":")
    family, kind, proto, _, name = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, proto) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(name)


def _why(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "another process has it"
