"""Streams over WebSocket: one JSON text frame per message, both ways for RPCs that take a stream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import orjson
from google.rpc import code_pb2

from gateway.context import Call
from gateway.endpoints import Endpoint
from gateway.errors import Failure, crash
from gateway.exchange import Exchange
from gateway.routes import Entry, Match, RouteTable
from gateway.unrouted import not_found

log = logging.getLogger(__name__)

NORMAL, POLICY, INTERNAL, TRY_LATER = 1000, 1008, 1011, 1013

_WAITING = 16  # frames of a client that may wait for the servicer
_REASON_BYTES = 123  # what a close frame has room for
_CLOSE_CODES = {
    code_pb2.INVALID_ARGUMENT: POLICY,
    code_pb2.NOT_FOUND: POLICY,
    code_pb2.ALREADY_EXISTS: POLICY,
    code_pb2.PERMISSION_DENIED: POLICY,
    code_pb2.UNAUTHENTICATED: POLICY,
    code_pb2.FAILED_PRECONDITION: POLICY,
    code_pb2.OUT_OF_RANGE: POLICY,
    code_pb2.UNIMPLEMENTED: POLICY,
    code_pb2.RESOURCE_EXHAUSTED: TRY_LATER,
    code_pb2.UNAVAILABLE: TRY_LATER,
}


class WebSocketExchange(Exchange):
    """The life of one WebSocket.

    The handshake is accepted when the RPC has sent its first message, has ended, or has been silent for a moment: a
    call that is refused at once is answered with a plain HTTP error where the ASGI server can do that.
    """

    _accepted = False

    async def run(self) -> None:
        """Serves the connection to its end."""
        await self._receive()  # websocket.connect
        try:
            await self._serve()
        except Failure as failure:
            await self._fail(failure)
        except Exception:
            log.exception(
                "%s failed in the gateway",
                self._request.raw_path,
                extra={"action": "gateway_crashed", "request_id": self._request_id},
            )
            await self._fail(crash(self._request_id))

    def _routes(self) -> RouteTable[Endpoint]:
        return self._site.catalog.websocket_routes

    async def _serve(self) -> None:
        match = self._find()
        if match is None:
            raise not_found()
        entry = self._choose(match)
        endpoint = entry.target
        call = await self._admitted_call(entry, match)
        frames: asyncio.Queue[str | bytes | None] = asyncio.Queue(_WAITING)
        request = self._requests(entry, match, call, frames)
        pump = asyncio.create_task(self._pump(endpoint, call, request))
        watch = asyncio.create_task(self._read(endpoint, frames))
        try:
            patience = 0 if endpoint.client_streaming else self._site.settings.first_message_seconds
            await asyncio.wait({pump, watch}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if not pump.done():
                await self._accept()
                await asyncio.wait({pump, watch}, return_when=asyncio.FIRST_COMPLETED)
            if pump.done():
                await pump  # raises what it failed with
                await self._accept()
                await self._send({"type": "websocket.close", "code": NORMAL, "reason": ""})
        finally:
            for task in (pump, watch):
                task.cancel()
            await asyncio.gather(pump, watch, return_exceptions=True)

    def _requests(self, entry: Entry[Endpoint], match: Match[Endpoint], call: Call, frames: asyncio.Queue[Any]) -> Any:
        binder = entry.target.binder
        try:
            head = binder.bind_head(self._request, match.variables(entry))
        except Failure as failure:
            call.refusal = call.refusal or failure
            head = binder.new()
        if not entry.target.client_streaming:
            return head

        async def messages() -> AsyncIterator[Any]:
            while (frame := await frames.get()) is not None:
                part = frame.encode() if isinstance(frame, str) else frame
                yield binder.bind_part(head, self._request, part)

        return messages()

    async def _pump(self, endpoint: Endpoint, call: Call, request: Any) -> None:
        encode = endpoint.service.encoder.message(endpoint.method.output_type)

        async def write(message: Any) -> None:
            await self._accept()
            await self._send({"type": "websocket.send", "text": orjson.dumps(encode(message)).decode()})

        if endpoint.method.server_streaming:
            await self._site.backend.stream(call, request, write)
        else:
            await write(await self._site.backend.unary(call, request))

    async def _read(self, endpoint: Endpoint, frames: asyncio.Queue[Any]) -> None:
        """Passes the client's frames on; returns when the client has left."""
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            frame = message.get("text") or message.get("bytes")
            if endpoint.client_streaming:
                # An empty frame is how a client says that it has no more to send.
                await frames.put(frame or None)

    async def _accept(self) -> None:
        if not self._accepted:
            self._accepted = True
            await self._send({"type": "websocket.accept", "headers": self._responder.encoded([])})

    async def _fail(self, failure: Failure) -> None:
        if not self._accepted and "websocket.http.response" in self._request.scope.get("extensions", {}):
            reply = self._responder.error_reply(failure)
            headers = self._responder.encoded([*reply.headers, ("content-length", str(len(reply.body)))])
            await self._send({"type": "websocket.http.response.start", "status": reply.status, "headers": headers})
            await self._send({"type": "websocket.http.response.body", "body": reply.body})
            return
        await self._accept()
        reason = f"{failure.status_name}: {failure.message}".encode()[:_REASON_BYTES]
        code = _CLOSE_CODES.get(failure.code, INTERNAL)
        await self._send({"type": "websocket.close", "code": code, "reason": reason.decode(errors="ignore")})
