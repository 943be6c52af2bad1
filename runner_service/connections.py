"""One connection: uvicorn's, with bounds on the head of a request, and without chunks for clients of HTTP/1.0.

What every request goes through is here in place of uvicorn's, in less time: no timer is made and cancelled for each,
and nothing is asked anew that holds for a connection.
"""

from __future__ import annotations

import asyncio
import sys
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import httptools
import orjson
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from gateway.metadata import request_id
from gateway.whole_replies import WHOLE_REPLY
from runner_service.cycle import Cycle, Outgoing

HEAD_BYTES = 64 * 1024
"""Of a request line with its headers, as far as it comes in pieces; the parser itself bounds the line alone."""
HEAD_FIELDS = 256
HEAD_SECONDS = 30.0
"""From the first byte of a head, or the start of a connection, to its end: a byte a minute holds nothing up."""

_EXTENSIONS: Any = {WHOLE_REPLY: {}}
_ASGI: Any = {"version": "3.0", "spec_version": "2.3"}


class HttpConnection(HttpToolsProtocol):
    """A connection that is no WebSocket, or not yet."""

    cycle: Cycle | None  # type: ignore[assignment] # uvicorn's name for what it is before the first request, too
    _is_upgrade = False
    """The message that is under way asks for a WebSocket."""
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None
    _idle_since: float | None = None
    """When the last reply was over; None while a request is under way, or on its way."""

    def __init__(self, *args: Any, outgoing: Outgoing, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.outgoing = outgoing

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": "",
            "extensions": _EXTENSIONS,
        }
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._cut)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_over()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._idle_since = None
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("")
            return
        except httptools.HttpParserUpgrade:
            if not self._should_upgrade():
                self._unsupported_upgrade_warning()
            else:
                self.handle_websocket_upgrade()
        cycle, scope = self.cycle, self.scope
        if cycle is not None and cycle.scope is scope:
            if self._head_timer is not None:
                self._head_is_over()
            if scope["http_version"] == "1.0":
                _say_it_plainly(cycle)
        elif scope is not None and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES or len(self.headers) > HEAD_FIELDS:
                self._refuse(431, "the head of the request is too large")
            elif self._head_timer is None:
                self._head_timer = self.loop.call_later(HEAD_SECONDS, self._cut)

    # What the parser calls.

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self.scope = self._scope.copy()  # type: ignore[assignment]

    def on_headers_complete(self) -> None:
        parser, scope, url = self.parser, self.scope, self.url
        version = parser.get_http_version()
        if version != "1.1":
            scope["http_version"] = version
        scope["method"] = parser.get_method().decode("ascii")
        scope["headers"] = self.headers
        self._is_upgrade = parser.should_upgrade() and self._should_upgrade()
        if self._is_upgrade:
            return
        if url[:1] == b"/" and b"#" not in url:
            raw_path, _, query = url.partition(b"?")
        else:
            parsed = httptools.parse_url(url)
            raw_path, query = parsed.path, parsed.query or b""
        path = raw_path.decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = raw_path
        scope["query_string"] = query
        before = self.cycle
        cycle = self.cycle = Cycle(self, keep_alive=version != "1.0" and parser.should_keep_alive())
        if before is None or before.response_complete:
            cycle.start(self.loop, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if cycle is None or cycle.response_complete or self._is_upgrade:
            return
        cycle.add(body)
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        cycle = self.cycle
        if cycle is None or cycle.response_complete or self._is_upgrade:
            return
        cycle.more_body = False
        cycle.message_event.set()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            cycle.start(self.loop, app)  # type: ignore[attr-defined] # all of them are ours
        else:
            self._idle_since = self.loop.time()
            if self.timeout_keep_alive_task is None:
                self._wait_for_next(self.timeout_keep_alive)

    def _wait_for_next(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Ends a connection that is idle. There is one timer for all pauses of a connection, which looks when it is
        due whether the pause is that long; the end of a reply sets it where there is none."""
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            return
        rest = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if rest > 0:
            self._wait_for_next(rest)
        else:
            self.outgoing.flush()
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        self.outgoing.flush()
        super().shutdown()

    def handle_websocket_upgrade(self) -> None:
        self.outgoing.flush()
        self._head_is_over()
        self._unset_keepalive_if_required()
        super().handle_websocket_upgrade()
        self.scope = None  # type: ignore[assignment] # the connection is another protocol's from here on

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "this is no HTTP request")

    def _head_is_over(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _cut(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self._refuse(408, "the request did not come in time")

    def _refuse(self, status: int, message: str) -> None:
        """Answers what no application can be asked about, and closes."""
        self.outgoing.flush()
        self._head_is_over()
        phrase = HTTPStatus(status).phrase
        body = orjson.dumps({"error": phrase, "message": message})
        head = [
            f"HTTP/1.1 {status} {phrase}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            f"x-request-id: {request_id(None)}",
            "x-content-type-options: nosniff",
            "connection: close",
        ]
        self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        self.transport.close()


def _say_it_plainly(cycle: Cycle) -> None:
    """HTTP/1.0 knows no chunks, which uvicorn sends all the same: there the end of the connection ends a body."""
    if cycle.chunked_encoding is False:
        return
    # As if a length were known, which is never reached.
    cycle.chunked_encoding, cycle.expected_content_length = False, sys.maxsize
    send = cycle.send

    async def plainly(message: Any) -> None:
        if message["type"] != "http.response.body" or message.get("more_body", False):
            await send(message)
            return
        await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": True})
        cycle.response_complete = True
        cycle.message_event.set()
        cycle.transport.close()

    cycle.send = plainly  # type: ignore[method-assign]


class WebSocketConnection(WebSocketsSansIOProtocol):
    """A connection that has become a WebSocket, or is refused to."""

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            # It is over, in good order: uvicorn would log an application that forgot the handshake.
            self.handshake_complete = True
