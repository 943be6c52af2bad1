"""The gateway as an ASGI application."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import orjson
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import code_pb2
from grpc import aio

from gateway.catalog import Catalog
from gateway.departure import Receive
from gateway.dispatch import Backend, HandlerCapture, InProcess
from gateway.errors import Failure
from gateway.exchange import Exchange
from gateway.forwarded import Proxies
from gateway.http_reply import HttpReply
from gateway.observing import Watch, observed
from gateway.openapi import document
from gateway.openapi.pages import page
from gateway.options import GatewayOptions
from gateway.site import Site
from gateway.streams import Send
from gateway.websocket import WebSocketExchange


class Gateway:
    """Serves captured gRPC handlers over HTTP and JSON, by their ``google.api.http`` annotations.

    An ASGI application: give it to any ASGI server. Raises ``AnnotationError`` (or ``RouteConflict``) at
    construction, naming the RPC, when an annotation can't be served.
    """

    def __init__(
        self,
        *,
        handlers: HandlerCapture | None = None,
        interceptors: Sequence[aio.ServerInterceptor] = (),
        backend: Backend | None = None,
        services: Sequence[str] | None = None,
        pool: DescriptorPool | None = None,
        descriptors: bytes | None = None,
        options: GatewayOptions | None = None,
    ) -> None:
        """``handlers`` (with ``interceptors``) are called in this process; a ``backend`` takes their place.

        :param services: full names of the services to serve; the captured ones by default.
        :param pool: where descriptors are looked up; the default pool by default.
        :param descriptors: a serialized FileDescriptorSet with source info, for the comments in the OpenAPI document.
        """
        settings = options or GatewayOptions()
        if backend is None:
            if handlers is None:
                raise TypeError("a gateway needs captured handlers or a backend")
            backend = InProcess(handlers, interceptors)
        if services is None:
            services = handlers.services() if handlers is not None else []
        self.catalog = Catalog(services, settings, pool)
        self._site = Site(self.catalog, backend, settings)
        self._descriptors = descriptors
        self._settings = settings
        self._proxies = Proxies(settings.trusted_proxies)
        self._bare = not self._proxies and not settings.observers
        """Nobody has to see a request before, or after, the exchange."""
        if settings.openapi_path is not None:
            self._site.documents[settings.openapi_path] = functools.cache(self._openapi_reply)
            if settings.docs_path is not None:
                self._site.documents.update(page(settings.docs_path, settings.openapi_path))
        self._site.documents.update(settings.documents)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI 3.1 document of what is served."""
        return document(self.catalog, self._settings, self._descriptors)

    def _openapi_reply(self) -> HttpReply:
        return HttpReply(200, orjson.dumps(self.openapi()), [("content-type", "application/json")])

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serves one ASGI scope: http, websocket or lifespan."""
        if self._bare and scope["type"] == "http":
            await Exchange(self._site, scope, receive, send).run()
            return
        if self._proxies and scope["type"] != "lifespan":
            scope = self._proxies.seen_through(scope)
        if self._settings.observers and scope["type"] != "lifespan":
            watch = Watch(send)
            kind = Exchange if scope["type"] == "http" else WebSocketExchange
            await observed(kind(self._site, scope, receive, watch.send), watch, self._settings.observers)
        elif scope["type"] == "http":
            await Exchange(self._site, scope, receive, send).run()
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "websocket":
            await WebSocketExchange(self._site, scope, receive, send).run()
        else:
            raise NotImplementedError(f"ASGI scope {scope['type']}")

    def drain(self) -> None:
        """Ends all open streams with an UNAVAILABLE error that their clients see, and tells probes to send no more.

        Call it when the server stops.
        """
        self._site.draining = True
        for stream in tuple(self._site.streams):
            stream.interrupt(Failure(code_pb2.UNAVAILABLE, "the server is shutting down", "SHUTTING_DOWN", "gateway"))


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
