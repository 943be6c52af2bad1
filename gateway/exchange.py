"""One HTTP request from its route to the last byte of its reply."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from gateway.admission import Admission, Admit
from gateway.body import has_body, read_body
from gateway.call import Call
from gateway.deadlines import timeout_of
from gateway.departure import ClientLeft, Receive, unless_gone
from gateway.endpoints import Endpoint
from gateway.errors import Failure, Reason, crash, refusal
from gateway.escapes import EscapeError
from gateway.heads import check_head
from gateway.http_reply import HttpReply
from gateway.intake import bound, subject, take
from gateway.metadata import query_metadata, request_id
from gateway.readiness import readiness
from gateway.replies import part_of, unary_reply
from gateway.request import HttpRequest
from gateway.responder import Responder
from gateway.routes import Entry, Match, RouteTable
from gateway.site import Site
from gateway.stream_reply import StreamReply
from gateway.streams import Send
from gateway.unrouted import not_found, unrouted, upgrade_required

log = logging.getLogger(__name__)


class Exchange:
    """The life of one request."""

    __slots__ = ("_receive", "_responder", "_send", "_site", "request", "request_id")

    def __init__(self, site: Site, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self._site = site
        self._receive = receive
        self._send = send
        request = self.request = HttpRequest(scope)
        self.request_id = request_id(request.first.get(site.request_id_header))
        self._responder = Responder(site, request, self.request_id, send)

    @property
    def endpoint(self) -> Endpoint | None:
        """Where the request led to; None for what has no route."""
        return self._responder.endpoint

    async def run(self) -> None:
        """Answers the request. A client that leaves is no error; a bug of the gateway is a 500, logged."""
        try:
            await self._answer()
        except ClientLeft:
            log.debug("the client left", extra={"action": "client_left", "request_id": self.request_id})
        except Failure as failure:
            await self._responder.error(failure)
        except Exception:
            log.exception(
                "%s %s failed in the gateway",
                self.request.method,
                self.request.raw_path,
                extra={"action": "gateway_crashed", "request_id": self.request_id},
            )
            if not self._responder.started:
                await self._responder.error(crash(self.request_id))

    async def _answer(self) -> None:
        site, request, responder = self._site, self.request, self._responder
        check_head(request)
        socket = site.catalog.sockets_only.get(request.raw_path)
        if socket is not None and request.method == "GET":
            responder.endpoint = socket
            raise upgrade_required()
        match = self._find(site.catalog.routes)
        if match is None:
            await responder.reply(await self._unrouted())
            return
        entry = self._choose(match)
        endpoint = entry.target
        call = self._new_call(endpoint)
        admit = site.settings.admission
        if admit is not None and not endpoint.subject:
            await self._admit(admit, endpoint, match.variables(entry), call)
        if endpoint.simple:
            body: bytes | Failure = b""
            if has_body(request):
                # Not in a function of its own: of all that a request goes through, this is what every POST does.
                try:
                    body = await read_body(request, self._receive, endpoint.max_body_bytes)
                except Failure as failure:
                    body = failure
            message = bound(request, entry, match, call, body)
        else:
            message, self._receive = await take(request, self._receive, entry, match, call)
        if admit is not None and endpoint.subject:
            await self._admit(admit, endpoint, subject(message, endpoint.subject), call)
        if endpoint.framings is not None:
            await StreamReply(site, request, responder, self._receive, self._send).run(endpoint, call, message)
            return
        work = site.backend.unary(call, message)
        try:
            waiting_for = work.send(None)
        except StopIteration as done:
            answer = done.value
        else:
            answer = await unless_gone(work, waiting_for, self._receive)
        if endpoint.plain_status and not call.initial and not call.trailing:
            assert endpoint.body is not None
            body, media_type = endpoint.body(answer)
            told = responder.in_one(endpoint.plain_status, body, media_type)
            await (self._send(told) if told is not None else responder.plain(endpoint.plain_status, body, media_type))
            return
        reply = unary_reply(endpoint, answer, call.initial, call.trailing, site.settings.reply_metadata)
        if endpoint.raw_reply or len(reply.headers) > 1:
            reply = part_of(request, reply, whole=endpoint.raw_reply)
        await responder.reply(reply)

    async def _unrouted(self) -> HttpReply:
        """The reply to a request that no RPC is for."""
        site, request = self._site, self.request
        if request.raw_path == site.settings.readiness_path and request.method in ("GET", "HEAD"):
            return await readiness(site.backend, request, self.request_id, draining=site.draining)
        return unrouted(site, request, self._responder)

    # routing

    def _find(self, routes: RouteTable[Endpoint]) -> Match[Endpoint] | None:
        request = self.request
        try:
            match = routes.find(request.method, request.raw_path)
            if match is None and self._responder.head_only:
                match = routes.find("GET", request.raw_path)
        except EscapeError as error:
            raise refusal(Reason.PATH_INVALID, f"the path has {error}") from None
        return match

    def _choose(self, match: Match[Endpoint]) -> Entry[Endpoint]:
        for entry in match.entries:
            if entry.target.condition is None or entry.target.condition(self.request):
                return entry
        raise not_found()

    # the call

    async def _admit(self, admit: Admit, endpoint: Endpoint, variables: dict[tuple[str, ...], str], call: Call) -> None:
        """Asks the admission hook; raises the ``Failure`` that it refuses with."""
        admission = Admission(
            method=endpoint.method,
            rules=endpoint.rules,
            service_rules=endpoint.service.rules,
            rpc=endpoint.rpc,
            route=endpoint.route,
            variables={".".join(path): text for path, text in variables.items()},
            peer=call.peer,
            client=self.request.client_host,
            request=self.request,
            metadata=list(call.metadata),
            reply_headers=self._responder.admitted,
        )
        await admit(admission)
        call.metadata = tuple(admission.metadata)

    def _new_call(self, endpoint: Endpoint) -> Call:
        site, request, responder = self._site, self.request, self._responder
        responder.endpoint = endpoint
        call = responder.call = Call(endpoint.rpc, endpoint.route, request, self.request_id, site.read_metadata)
        try:
            if endpoint.query_metadata and request.raw_query:
                call.metadata = query_metadata(request, endpoint.query_metadata, call.metadata)
            timeout = timeout_of(request, cap=site.settings.max_timeout_seconds)
        except Failure as failure:
            call.refusal = failure
            return call
        if timeout is None and endpoint.framings is None and not endpoint.client_streaming:
            timeout = site.settings.max_timeout_seconds
        if timeout is not None:
            call.deadline = asyncio.get_running_loop().time() + timeout
        return call
