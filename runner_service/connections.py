"""One connection: uvicorn's, with bounds on the head of a request, without chunks for clients of HTTP/1.0, and
with one write for a whole reply.
"""

from __future__ import annotations

import asyncio
import sys
from http import HTTPStatus
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from gateway.metadata import request_id
from gateway.whole_replies import WHOLE_REPLY

HEAD_BYTES = 64 * 1024
"""Of a request line with its headers, as far as it comes in pieces; the parser itself bounds the line alone."""
HEAD_FIELDS = 256
HEAD_SECONDS = 30.0
"""From the first byte of a head, or the start of a connection, to its end: a byte a minute holds nothing up."""


_EXTENSIONS: Any = {WHOLE_REPLY: {}}


class Outgoing:
    """The whole replies of one turn of the event loop, on their way to any connections of a server.

    They are written together, behind the turn. To wake a client that waits costs as much as all else of a write, and
    one that is awake need not be woken: under load that is a fifth of the time of a request. A reply that is alone in
    its turn is held up by nothing.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []

    def put(self, transport: asyncio.Transport, reply: bytes) -> None:
        """Writes a reply soon: before anything that the event loop is told to do from now on."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append((transport, reply))

    def flush(self) -> None:
        """Writes what waits, now. May be called at any time, and must be before a transport is closed or written to by
        others."""
        waiting, self._waiting = self._waiting, []
        for transport, reply in waiting:
            if not transport.is_closing():
                transport.write(reply)


class HttpConnection(HttpToolsProtocol):
    """A connection that is no WebSocket, or not yet."""

    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, outgoing: Outgoing, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._outgoing = outgoing

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._cut)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_over()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
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

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.__class__ = _Cycle  # uvicorn makes its own
        cycle.outgoing = self._outgoing  # type: ignore[attr-defined]
        cycle.scope["extensions"] = _EXTENSIONS
        super()._start_asgi_task(cycle, app)

    def shutdown(self) -> None:
        self._outgoing.flush()
        super().shutdown()

    def handle_websocket_upgrade(self) -> None:
        self._outgoing.flush()
        self._head_is_over()
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
        self._outgoing.flush()
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


class _Cycle(RequestResponseCycle):
    """One request and its reply, with the extension of ``gateway.whole_replies``."""

    outgoing: Outgoing

    async def send(self, message: Any) -> None:
        if message["type"] != WHOLE_REPLY:
            await super().send(message)
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if self.response_started:
            raise RuntimeError("a reply was begun before")
        head = [STATUS_LINE[message["status"]]]
        head += [b"%b: %b\r\n" % header for header in self.default_headers]
        head += (message["head"], b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n", message["body"])
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.message_event.set()
        if self.keep_alive:
            self.outgoing.put(self.transport, b"".join(head))
        else:
            self.transport.write(b"".join(head))
            self.transport.close()
        self.on_response()


def _say_it_plainly(cycle: RequestResponseCycle) -> None:
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
