"""The way back: replies and failures → ASGI messages, with the headers that every reply of a route carries."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from gateway.call import Call
from gateway.compression import compressed
from gateway.endpoints import Endpoint
from gateway.envelope import ErrorReply
from gateway.error_template import Occasion
from gateway.errors import Failure
from gateway.http_reply import HttpReply
from gateway.metadata import reply_shape
from gateway.request import Headers, HttpRequest
from gateway.service import Service
from gateway.site import Site
from gateway.streams import Send
from gateway.whole_replies import WHOLE_REPLY, lines, pair


class Responder:
    """Answers one request. What is known of the request by then (its endpoint, its call) shapes the answer."""

    __slots__ = (
        "_request",
        "_request_id",
        "_send",
        "_site",
        "_whole",
        "admitted",
        "call",
        "endpoint",
        "head_only",
        "neighbour",
        "started",
    )

    def __init__(self, site: Site, request: HttpRequest, request_id: str, send: Send) -> None:
        self._site = site
        self._request = request
        self._request_id = request_id
        self._send = send
        self._whole = WHOLE_REPLY in request.scope.get("extensions", ())
        self.endpoint: Endpoint | None = None
        self.call: Call | None = None
        self.neighbour: Service | None = None
        """Who serves the path with other methods: answers for it where nobody owns it."""
        self.admitted: Headers = []
        """What the admission hook adds to every answer."""
        self.started = False
        self.head_only = request.method == "HEAD"

    def in_one(self, status: int, body: bytes, media_type: str) -> dict[str, Any] | None:
        """The one message of a reply of which there is no more to say than its type (``Endpoint.plain_status`` tells
        which are such), to be sent at once; None where ``plain`` has to say it.

        Most replies are such. ``reply`` would send the same, in three times the time.
        """
        if not self._whole or self.admitted or (b"accept-encoding" in self._request.first and self._is_long(body)):
            return None
        self.started = True
        return {
            "type": WHOLE_REPLY,
            "status": status,
            "head": b"%b%b\r\ncontent-length: %d\r\n"
            % (self._site.plain_head(media_type), self._request_id.encode(), len(body)),
            "body": b"" if self.head_only else body,
        }

    async def plain(self, status: int, body: bytes, media_type: str) -> None:
        """Sends what ``in_one`` has no message for."""
        site = self._site
        if self._whole or self.admitted or (b"accept-encoding" in self._request.first and self._is_long(body)):
            await self.reply(HttpReply(status, body, [("content-type", media_type)]))
            return
        headers = [
            pair(("content-type", media_type)),
            *site.plain_headers,
            (site.request_id_header, self._request_id.encode()),
            (b"content-length", b"%d" % len(body)),
        ]
        await self._send_all(status, headers, body)

    async def reply(self, reply: HttpReply) -> None:
        """Sends a complete reply, compressed where that pays."""
        body, told = reply.body, reply.headers
        # Who does not say gets what everybody can read, which a cache may keep for all.
        if b"accept-encoding" in self._request.first and self._is_long(body):
            body, told = compressed(self._request, body, told)
        headers = self.encoded(told)
        if reply.status not in (204, 304):
            headers.append((b"content-length", b"%d" % len(body)))
        await self._send_all(reply.status, headers, body)

    async def _send_all(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.started = True
        if self.head_only:
            body = b""
        if self._whole:
            await self._send({"type": WHOLE_REPLY, "status": status, "head": lines(headers), "body": body})
            return
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    def _is_long(self, body: bytes) -> bool:
        """Whether to compress a body pays."""
        least = self._site.settings.compress_min_bytes
        return least is not None and len(body) > least

    async def end(self, body: bytes = b"") -> None:
        """Sends the last of a body; none to HEAD."""
        await self._send({"type": "http.response.body", "body": b"" if self.head_only else body})

    async def error(self, failure: Failure) -> None:
        """Sends a failure in the envelope of who answers for the path."""
        await self.reply(self.error_reply(failure))

    def error_reply(self, failure: Failure) -> HttpReply:
        """A failure as a reply."""
        rendered = self.render(failure)
        status, headers = rendered.status, rendered.headers
        if self.call is not None:
            # What an interceptor says of every reply, such as how much of a limit is left, holds for errors too.
            shape = reply_shape(self.call.initial, self.call.trailing, listed=self._site.settings.reply_metadata)
            status = shape.status or status
            headers = [*headers, *missing(shape.headers, headers)]
        return HttpReply(status, rendered.body, headers)

    def render(self, failure: Failure) -> ErrorReply:
        """A failure in the envelope of who answers for the path."""
        request = self._request
        occasion = Occasion(self._request_id, request, datetime.now(UTC))
        if self.endpoint is not None:
            return self.endpoint.service.envelope.render(failure, occasion, self.endpoint.error_rules)
        owner = self.owner
        if owner is not None:
            return owner.envelope.render(failure, occasion, owner.error_rules)
        return self._site.envelope.render(failure, occasion)

    def render_body(self, failure: Failure) -> bytes:
        """The body of an error that came after the headers."""
        return self.render(failure).body

    @property
    def owner(self) -> Service | None:
        """Who answers for a path where no RPC does."""
        return self._site.owners.of(self._request.raw_path) or self.neighbour

    async def start(self, status: int, headers: Headers) -> None:
        """Sends status and headers, with those that every reply has."""
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": self.encoded(headers)})

    def encoded(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        """The headers of a reply as ASGI has them, with those that every reply has."""
        site = self._site
        encoded = [pair(header) for header in headers]
        encoded.append((site.request_id_header, self._request_id.encode()))
        if self.admitted:
            encoded += _encoded(missing(self.admitted, headers))
        service = self.endpoint.service if self.endpoint is not None else self.owner
        if site.cors.speaks(service) and not any(name == "access-control-allow-origin" for name, _ in headers):
            encoded += _encoded(site.cors.headers(self._request, service))
        given = {name for name, _ in encoded}
        return encoded + [each for each in site.default_headers if each[0] not in given]


def _encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [pair(header) for header in headers]


def missing(wanted: Iterable[tuple[str, str]], headers: Headers) -> Headers:
    """Those of the wanted headers that are not there yet."""
    given = {name for name, _ in headers}
    return [each for each in wanted if each[0] not in given]
