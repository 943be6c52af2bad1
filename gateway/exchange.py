"""One HTTP request from its route to the last byte of its reply."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from google.rpc import code_pb2

from gateway.body import has_body, read_body
from gateway.context import Call
from gateway.cors import Cors
from gateway.deadlines import timeout_of
from gateway.departure import ClientLeft, Receive, unless_gone
from gateway.dispatch import Backend, Write
from gateway.endpoints import Catalog, Endpoint, Owners
from gateway.envelope import Envelope, ErrorReply, Occasion
from gateway.errors import Failure, Reason, crash, refusal
from gateway.escapes import EscapeError
from gateway.metadata import ReplyShape, invocation_metadata, reply_shape, request_id
from gateway.negotiate import negotiate
from gateway.options import GatewayOptions
from gateway.replies import HttpReply, unary_reply
from gateway.request import Headers, HttpRequest
from gateway.routes import Entry, Match, RouteTable
from gateway.streams import Send, Stream
from gateway.uploads import Upload, check_upload
from runner.gateway.v1 import options_pb2 as proto_options

log = logging.getLogger(__name__)


class Site:
    """What all exchanges of a gateway share."""

    def __init__(self, catalog: Catalog, backend: Backend, settings: GatewayOptions) -> None:
        self.catalog = catalog
        self.backend = backend
        self.settings = settings
        self.owners = Owners(catalog.services)
        self.cors = Cors(settings)
        self.streams: set[Stream] = set()
        self.default_names = frozenset(settings.default_headers)
        self.default_headers = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in settings.default_headers.items()
        ]
        self.documents: dict[str, Callable[[], HttpReply]] = {}
        """Replies to GET on paths that are no RPC's, such as the OpenAPI document; made when first asked for."""
        declared = proto_options.ErrorEnvelope(template=settings.error_template, media_type=settings.error_media_type)
        self.envelope = Envelope(declared)


class Exchange:
    """The life of one request."""

    def __init__(self, site: Site, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self._site = site
        self._receive = receive
        self._send = send
        self._request = HttpRequest(scope)
        self._request_id = request_id(self._request.header(site.settings.request_id_header))
        self._endpoint: Endpoint | None = None
        self._call: Call | None = None
        self._started = False
        self._head = self._request.method == "HEAD"

    async def run(self) -> None:
        """Answers the request. A client that leaves is no error; a bug of the gateway is a 500, logged."""
        try:
            await self._answer()
        except ClientLeft:
            log.debug("the client left", extra={"action": "client_left", "request_id": self._request_id})
        except Failure as failure:
            await self._send_error(failure)
        except Exception:
            log.exception(
                "%s %s failed in the gateway",
                self._request.method,
                self._request.raw_path,
                extra={"action": "gateway_crashed", "request_id": self._request_id},
            )
            if not self._started:
                await self._send_error(crash(self._request_id))

    async def _answer(self) -> None:
        match = self._find()
        if match is None:
            await self._send_reply(self._unrouted())
            return
        entry = self._choose(match)
        endpoint = self._endpoint = entry.target
        call = self._call = self._new_call(endpoint)
        if endpoint.client_streaming:
            message = self._bind_upload(entry, match, call)
        elif has_body(self._request):
            message = await self._bind_with_body(entry, match, call)
        else:
            message = self._bind(entry, match, call, b"")
        if endpoint.framings is not None:
            await self._answer_stream(endpoint, call, message)
        else:
            reply = await unless_gone(self._site.backend.unary(call, message), self._receive)
            await self._send_reply(unary_reply(endpoint, reply, call.initial, call.trailing))

    # routing

    def _routes(self) -> RouteTable[Endpoint]:
        return self._site.catalog.routes

    def _find(self) -> Match[Endpoint] | None:
        request, routes = self._request, self._routes()
        try:
            match = routes.find(request.method, request.raw_path)
            if match is None and self._head:
                match = routes.find("GET", request.raw_path)
        except EscapeError as error:
            raise refusal(Reason.PATH_INVALID, f"the path has {error}") from None
        return match

    def _choose(self, match: Match[Endpoint]) -> Entry[Endpoint]:
        for entry in match.entries:
            if entry.target.condition is None or entry.target.condition(self._request):
                return entry
        raise self._not_found()

    def _unrouted(self) -> HttpReply:
        """The reply to a request that is for no RPC; raises 404 and 405."""
        request = self._request
        if request.method in ("GET", "HEAD") and request.raw_path in self._site.documents:
            return self._site.documents[request.raw_path]()
        methods = self._site.catalog.routes.methods(request.raw_path)
        if request.method == "GET" and self._is_for_websockets():
            raise refusal(
                Reason.UPGRADE_REQUIRED,
                "this is served over WebSocket",
                code=code_pb2.FAILED_PRECONDITION,
                http_status=426,
                headers=[("upgrade", "websocket"), ("connection", "upgrade")],
            )
        if request.raw_path in self._site.documents:
            methods = sorted({*methods, "GET", "HEAD"})
        if not methods:
            raise self._not_found()
        allowed = sorted({*methods, "OPTIONS"})
        allow = [("allow", ", ".join(allowed))]
        if request.method == "OPTIONS":
            preflight = self._site.cors.preflight(request, methods) if self._site.cors.enabled else None
            return HttpReply(204, b"", allow if preflight is None else preflight)
        raise refusal(
            Reason.METHOD_NOT_ALLOWED,
            f"{request.method[:16]} is not allowed here",
            code=code_pb2.UNIMPLEMENTED,
            http_status=405,
            headers=allow,
        )

    def _is_for_websockets(self) -> bool:
        match = self._site.catalog.websocket_routes.find("GET", self._request.raw_path)
        if match is None:
            return False
        # Its envelope is the RPC's.
        self._endpoint = match.entries[-1].target
        return True

    def _not_found(self) -> Failure:
        return refusal(Reason.ROUTE_NOT_FOUND, "there is nothing at this path", code=code_pb2.NOT_FOUND)

    # the call

    def _new_call(self, endpoint: Endpoint) -> Call:
        request, settings = self._request, self._site.settings
        call = Call(
            method=endpoint.rpc,
            metadata=invocation_metadata(
                request,
                allowed=settings.allowed_headers,
                request_id_header=settings.request_id_header,
                request_id=self._request_id,
                route=endpoint.route,
            ),
            peer=request.peer,
            request_id=self._request_id,
            secure=request.scheme == "https",
        )
        try:
            timeout = timeout_of(request, cap=settings.max_timeout_seconds)
        except Failure as failure:
            call.refusal = failure
            return call
        if timeout is None and endpoint.framings is None:
            timeout = settings.max_timeout_seconds
        if timeout is not None:
            call.deadline = asyncio.get_running_loop().time() + timeout
        return call

    def _bind(self, entry: Entry[Endpoint], match: Match[Endpoint], call: Call, body: bytes) -> Any:
        """The request message. What is wrong with it is noted in the call, see ``Call.refusal``."""
        binder = entry.target.binder
        try:
            variables = match.variables(entry) if entry.template.variables else {}
            return binder.bind(self._request, variables, body)
        except Failure as failure:
            call.refusal = call.refusal or failure
            return binder.new()

    async def _bind_with_body(self, entry: Entry[Endpoint], match: Match[Endpoint], call: Call) -> Any:
        try:
            body = await read_body(self._request, self._receive, entry.target.max_body_bytes)
        except Failure as failure:
            call.refusal = call.refusal or failure
            return entry.target.binder.new()
        return self._bind(entry, match, call, body)

    def _bind_upload(self, entry: Entry[Endpoint], match: Match[Endpoint], call: Call) -> Any:
        """The request messages of a client stream, as they will arrive."""
        endpoint, request = entry.target, self._request
        binder = endpoint.binder
        try:
            check_upload(request, endpoint.max_body_bytes if binder.raw_body else None)
            head = binder.bind_head(request, match.variables(entry))
        except Failure as failure:
            call.refusal = call.refusal or failure
            head = binder.new()
        upload = Upload(binder, head, request, self._receive, endpoint.max_body_bytes)
        self._receive = upload.receive_after
        return upload

    async def _answer_stream(self, endpoint: Endpoint, call: Call, message: Any) -> None:
        assert endpoint.framings is not None
        mode = endpoint.framings.modes[0]
        try:
            mode = negotiate(self._request.header("accept"), endpoint.framings.modes)
        except Failure as failure:
            call.refusal = call.refusal or failure
        settings, backend = self._site.settings, self._site.backend
        stream = Stream(endpoint.framings.open(mode), batch_bytes=settings.batch_bytes)

        async def run(write: Write) -> None:
            await backend.stream(call, message, write)

        self._site.streams.add(stream)
        try:
            stream.start(run, self._receive)
            await stream.first(patience=settings.first_message_seconds)
            shape = reply_shape(call.initial, call.trailing)
            await self._start_stream(endpoint, stream, shape)
            if self._head:
                await self._send({"type": "http.response.body", "body": b""})
                return
            # When that answers False the reply is left open: the server then cuts the connection, which is
            # the only way left to say that it is not complete.
            await stream.send_all(self._send, keepalive_seconds=settings.keepalive_seconds, render=self._render_body)
        finally:
            self._site.streams.discard(stream)
            await stream.stop()

    async def _start_stream(self, endpoint: Endpoint, stream: Stream, shape: ReplyShape) -> None:
        headers = [
            ("content-type", shape.content_type or stream.framing.media_type),
            ("cache-control", "no-cache"),
            # nginx and its kin would otherwise hold events back until a buffer is full
            ("x-accel-buffering", "no"),
        ]
        given = {name for name, _ in shape.headers}
        headers = [each for each in headers if each[0] not in given] + shape.headers
        await self._start(shape.status or endpoint.rules.success_status or 200, headers)

    # replies

    async def _send_reply(self, reply: HttpReply) -> None:
        headers = reply.headers
        if reply.status not in (204, 304):
            headers = [*headers, ("content-length", str(len(reply.body)))]
        await self._start(reply.status, headers)
        await self._send({"type": "http.response.body", "body": b"" if self._head else reply.body})

    async def _send_error(self, failure: Failure) -> None:
        rendered = self._render(failure)
        status, headers = rendered.status, rendered.headers
        if self._call is not None:
            # What an interceptor says of every reply, such as how much of a limit is left, holds for errors too.
            shape = reply_shape(self._call.initial, self._call.trailing)
            status = shape.status or status
            headers = [*headers, *_missing(shape.headers, headers)]
        await self._send_reply(HttpReply(status, rendered.body, headers))

    def _render(self, failure: Failure) -> ErrorReply:
        occasion = Occasion(
            request_id=self._request_id,
            method=self._request.method,
            path=self._request.raw_path,
            now=datetime.now(UTC),
        )
        if self._endpoint is not None:
            return self._endpoint.service.envelope.render(failure, occasion, self._endpoint.error_rules)
        owner = self._site.owners.of(self._request.raw_path)
        if owner is not None:
            return owner.envelope.render(failure, occasion, owner.rules.errors)
        return self._site.envelope.render(failure, occasion)

    def _render_body(self, failure: Failure) -> bytes:
        return self._render(failure).body

    async def _start(self, status: int, headers: Headers) -> None:
        site = self._site
        sent = [*headers, (site.settings.request_id_header, self._request_id)]
        if site.cors.enabled and not any(name == "access-control-allow-origin" for name, _ in headers):
            sent += site.cors.headers(self._request)
        encoded = [(_header_name(name), _header_bytes(value)) for name, value in sent]
        if site.default_names.isdisjoint(name for name, _ in headers):
            encoded += site.default_headers
        else:
            encoded += [(_header_name(name), _header_bytes(value)) for name, value in _defaults(site, sent)]
        self._started = True
        await self._send({"type": "http.response.start", "status": status, "headers": encoded})


def _defaults(site: Site, headers: Headers) -> Headers:
    return _missing(site.settings.default_headers.items(), headers)


def _missing(wanted: Iterable[tuple[str, str]], headers: Headers) -> Headers:
    """Those of the wanted headers that are not there yet."""
    given = {name for name, _ in headers}
    return [each for each in wanted if each[0] not in given]


@functools.lru_cache(maxsize=256)
def _header_name(name: str) -> bytes:
    return name.encode("latin-1")


def _header_bytes(value: str) -> bytes:
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode()
