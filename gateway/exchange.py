"""One HTTP request from its route to the last byte of its reply."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from google.rpc import code_pb2

from gateway.admission import Admission
from gateway.body import has_body, read_body
from gateway.context import Call
from gateway.deadlines import timeout_of
from gateway.departure import ClientLeft, Receive, unless_gone
from gateway.dispatch import Write
from gateway.endpoints import Endpoint
from gateway.errors import Failure, Reason, crash, refusal
from gateway.escapes import EscapeError
from gateway.metadata import ReplyShape, invocation_metadata, reply_shape, request_id
from gateway.negotiate import negotiate
from gateway.replies import HttpReply, unary_reply
from gateway.request import HttpRequest
from gateway.responder import Responder
from gateway.routes import Entry, Match, RouteTable
from gateway.site import Site
from gateway.streams import Send, Stream
from gateway.uploads import Upload, check_upload

log = logging.getLogger(__name__)


class Exchange:
    """The life of one request."""

    def __init__(self, site: Site, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self._site = site
        self._receive = receive
        self._send = send
        self._request = HttpRequest(scope)
        self._request_id = request_id(self._request.header(site.settings.request_id_header))
        self._responder = Responder(site, self._request, self._request_id, send)

    async def run(self) -> None:
        """Answers the request. A client that leaves is no error; a bug of the gateway is a 500, logged."""
        try:
            await self._answer()
        except ClientLeft:
            log.debug("the client left", extra={"action": "client_left", "request_id": self._request_id})
        except Failure as failure:
            await self._responder.error(failure)
        except Exception:
            log.exception(
                "%s %s failed in the gateway",
                self._request.method,
                self._request.raw_path,
                extra={"action": "gateway_crashed", "request_id": self._request_id},
            )
            if not self._responder.started:
                await self._responder.error(crash(self._request_id))

    async def _answer(self) -> None:
        match = self._find()
        if match is None:
            await self._responder.reply(self._unrouted())
            return
        entry = self._choose(match)
        endpoint = entry.target
        call = await self._admitted_call(entry, match)
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
            await self._responder.reply(unary_reply(endpoint, reply, call.initial, call.trailing))

    # routing

    def _routes(self) -> RouteTable[Endpoint]:
        return self._site.catalog.routes

    def _find(self) -> Match[Endpoint] | None:
        request, routes = self._request, self._routes()
        try:
            match = routes.find(request.method, request.raw_path)
            if match is None and self._responder.head_only:
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
        self._responder.endpoint = match.entries[-1].target
        return True

    def _not_found(self) -> Failure:
        return refusal(Reason.ROUTE_NOT_FOUND, "there is nothing at this path", code=code_pb2.NOT_FOUND)

    # the call

    async def _admitted_call(self, entry: Entry[Endpoint], match: Match[Endpoint]) -> Call:
        """The call, once the admission hook let it through."""
        endpoint = self._responder.endpoint = entry.target
        call = self._new_call(endpoint)
        admit = self._site.settings.admission
        if admit is not None:
            admission = Admission(
                method=endpoint.method,
                rules=endpoint.rules,
                service_rules=endpoint.service.rules,
                rpc=endpoint.rpc,
                route=endpoint.route,
                variables={".".join(path): text for path, text in match.variables(entry).items()},
                peer=call.peer,
                client=self._request.client_host,
                request=self._request,
                metadata=list(call.metadata),
                reply_headers=self._responder.admitted,
            )
            await admit(admission)
            call.metadata = tuple(admission.metadata)
        self._responder.call = call
        return call

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
            if self._responder.head_only:
                await self._responder.end()
                return
            # When that answers False the reply is left open: the server then cuts the connection, which is
            # the only way left to say that it is not complete.
            await stream.send_all(
                self._send, keepalive_seconds=settings.keepalive_seconds, render=self._responder.render_body
            )
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
        await self._responder.start(shape.status or endpoint.rules.success_status or 200, headers)
