"""One HTTP request from its route to the last byte of its reply."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

from gateway.admission import Admission, Admit
from gateway.body import has_body
from gateway.call import Call
from gateway.deadlines import timeout_of
from gateway.departure import ClientLeft, Receive, unless_gone
from gateway.endpoints import Endpoint
from gateway.errors import Failure, Reason, crash, refusal
from gateway.escapes import EscapeError
from gateway.http_reply import HttpReply
from gateway.intake import bound, subject, take
from gateway.metadata import invocation_metadata, query_metadata, request_id
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

    def __init__(self, site: Site, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self._site = site
        self._receive = receive
        self._send = send
        self.request = self._request = HttpRequest(scope)
        self.request_id = self._request_id = request_id(self._request.header(site.settings.request_id_header))
        self._responder = Responder(site, self._request, self._request_id, send)

    @property
    def endpoint(self) -> Endpoint | None:
        """Where the request led to; None for what has no route."""
        return self._responder.endpoint

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
        socket = self._site.catalog.sockets_only.get(self._request.raw_path)
        if socket is not None and self._request.method == "GET":
            self._responder.endpoint = socket
            raise upgrade_required()
        match = self._find()
        if match is None:
            if self._request.raw_path == self._site.settings.readiness_path and self._request.method in ("GET", "HEAD"):
                await self._responder.reply(await self._readiness())
                return
            await self._responder.reply(unrouted(self._site, self._request, self._responder))
            return
        entry = self._choose(match)
        endpoint = entry.target
        call = self._new_call(endpoint)
        admit = self._site.settings.admission
        if admit is not None and not endpoint.subject:
            await self._admit(admit, endpoint, match.variables(entry), call)
        if endpoint.simple and not has_body(self._request):
            message = bound(self._request, entry, match, call, b"")
        else:
            message, self._receive = await take(self._request, self._receive, entry, match, call)
        if admit is not None and endpoint.subject:
            await self._admit(admit, endpoint, subject(message, endpoint.subject), call)
        if endpoint.framings is not None:
            stream = StreamReply(self._site, self._request, self._responder, self._receive, self._send)
            await stream.run(endpoint, call, message)
            return
        work = self._site.backend.unary(call, message)
        try:
            waiting_for = work.send(None)
        except StopIteration as done:
            answer = done.value
        else:
            answer = await unless_gone(work, waiting_for, self._receive)
        listed = self._site.settings.reply_metadata
        reply = unary_reply(endpoint, answer, call.initial, call.trailing, listed)
        if endpoint.raw_reply or len(reply.headers) > 1:
            reply = part_of(self._request, reply, whole=endpoint.raw_reply)
        await self._responder.reply(reply)

    async def _readiness(self) -> HttpReply:
        site = self._site
        return await readiness(site.backend, self._request, self._request_id, draining=site.draining)

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
            client=self._request.client_host,
            request=self._request,
            metadata=list(call.metadata),
            reply_headers=self._responder.admitted,
        )
        await admit(admission)
        call.metadata = tuple(admission.metadata)

    def _new_call(self, endpoint: Endpoint) -> Call:
        request, settings = self._request, self._site.settings
        self._responder.endpoint = endpoint
        metadata = partial(
            invocation_metadata,
            request,
            allowed=settings.allowed_headers,
            request_id_header=settings.request_id_header,
            request_id=self._request_id,
            route=endpoint.route,
        )
        call = self._responder.call = Call(endpoint.rpc, request, self._request_id, metadata)
        try:
            if endpoint.query_metadata and request.raw_query:
                call.metadata = query_metadata(request, endpoint.query_metadata, call.metadata)
            timeout = timeout_of(request, cap=settings.max_timeout_seconds)
        except Failure as failure:
            call.refusal = failure
            return call
        if timeout is None and endpoint.framings is None and not endpoint.client_streaming:
            timeout = settings.max_timeout_seconds
        if timeout is not None:
            call.deadline = asyncio.get_running_loop().time() + timeout
        return call
