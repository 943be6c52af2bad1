"""Streams over WebSocket: one JSON text frame per message, both ways for RPCs that take a stream.

Three tasks per connection: one runs the servicer, one reads the client's frames, one sends what waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
from google.rpc import code_pb2

from gateway.body import too_large
from gateway.departure import ClientLeft
from gateway.endpoints import Endpoint
from gateway.errors import Failure, crash
from gateway.exchange import Exchange
from gateway.heads import check_head
from gateway.outbox import Outbox
from gateway.routes import Entry, Match
from gateway.unrouted import not_found
from runner.gateway.v1 import options_pb2 as options

log = logging.getLogger(__name__)

NORMAL, POLICY, TOO_BIG, INTERNAL, TRY_LATER = 1000, 1008, 1009, 1011, 1013

_WAITING = 16  # frames of a client that may wait for the servicer
_FAREWELL_SECONDS = 5.0  # for a client that does not read to take what it is closed with
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

    The handshake is accepted when the RPC has sent its first message or its initial metadata, asks for the client's (if
    it does not speak first; behind a channel see ``AskingInterceptor``), has ended, or has been silent for a moment: a
    call that is refused at once is answered with a plain HTTP error where the ASGI server can do that.
    """

    _accepted = False
    _interruption: Failure | None = None
    _pump: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serves the connection to its end."""
        await self._receive()  # websocket.connect
        self._site.streams.add(self)
        try:
            await self._serve()
        except Failure as failure:
            await self._fail(failure)
        except (ClientLeft, OSError):  # ASGI servers raise OSError from send once the client is gone
            log.debug("the client left", extra={"action": "client_left", "request_id": self.request_id})
        except Exception:
            log.exception(
                "%s failed in the gateway",
                self.request.raw_path,
                extra={"action": "gateway_crashed", "request_id": self.request_id},
            )
            await self._fail(crash(self.request_id))
        finally:
            self._site.streams.discard(self)

    def interrupt(self, failure: Failure) -> None:
        """Ends the connection with an error: the server is going away."""
        self._interruption = failure
        if self._pump is not None:
            self._pump.cancel()

    async def _serve(self) -> None:
        check_head(self.request)
        match = self._find(self._site.catalog.websocket_routes)
        if match is None:
            raise not_found()
        entry = self._choose(match)
        endpoint, settings = entry.target, self._site.settings
        call = self._new_call(endpoint)
        if settings.admission is not None:
            await self._admit(settings.admission, endpoint, match.variables(entry), call)
        frames: asyncio.Queue[str | bytes | None] = asyncio.Queue(_WAITING)
        patience = settings.slow_reader_seconds if endpoint.rules.close_slow_reader else None
        outbox = Outbox(limit=settings.batch_bytes, patience=patience)
        opened = asyncio.Event()
        call.opened = opened.set
        request = self._requests(entry, match, call, frames, opened.set)
        pump = self._pump = asyncio.create_task(self._run(endpoint, call, request, outbox, opened.set))
        watch = asyncio.create_task(self._read(endpoint, frames))
        open_ = asyncio.create_task(opened.wait())
        tasks = [pump, watch, open_]
        try:
            first = settings.first_message_seconds
            await asyncio.wait(tasks, timeout=first, return_when=asyncio.FIRST_COMPLETED)
            if pump.done() and not opened.is_set():
                await self._outcome(pump)
            await self._accept()
            send = asyncio.create_task(self._send_all(outbox))
            tasks.append(send)
            await asyncio.wait({pump, watch, send}, return_when=asyncio.FIRST_COMPLETED)
            if not pump.done():
                raise ClientLeft
            outbox.end()
            await asyncio.wait({watch, send}, timeout=_FAREWELL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not send.done():
                log.info("a client reads too slowly", extra={"action": "slow_reader", "request_id": self.request_id})
            await self._outcome(pump)
            await self._send({"type": "websocket.close", "code": NORMAL, "reason": ""})
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _outcome(self, pump: asyncio.Task[None]) -> None:
        """Raises what the servicer failed with."""
        try:
            await pump
        except asyncio.CancelledError:
            if self._interruption is None:
                raise
            raise self._interruption from None

    def _requests(
        self,
        entry: Entry[Endpoint],
        match: Match[Endpoint],
        call: Any,
        frames: asyncio.Queue[Any],
        opened: Callable[[], None],
    ) -> Any:
        binder = entry.target.binder
        try:
            head = binder.bind_head(self.request, match.variables(entry))
        except Failure as failure:
            call.refusal = call.refusal or failure
            head = binder.new()
        return self._messages(entry.target, head, frames, opened) if entry.target.client_streaming else head

    async def _messages(
        self, endpoint: Endpoint, head: Any, frames: asyncio.Queue[Any], opened: Callable[[], None]
    ) -> AsyncIterator[Any]:
        if self._site.backend.servicer_asks and not endpoint.rules.speaks_first:
            opened()
        binder, bad_frame_field = endpoint.binder, endpoint.rules.bad_frame_field
        if endpoint.rules.head_first:
            opening = binder.new()
            opening.MergeFrom(head)
            yield opening
        while (frame := await frames.get()) is not None:
            part = frame.encode() if isinstance(frame, str) else frame
            if len(part) > endpoint.max_body_bytes:
                raise too_large(endpoint.max_body_bytes)
            try:
                message = binder.bind_part(head, self.request, part)
            except Failure:
                if not bad_frame_field:
                    raise
                message = binder.new()
                message.MergeFrom(head)
                setattr(message, bad_frame_field, part)
            yield message

    async def _run(
        self, endpoint: Endpoint, call: Any, request: Any, outbox: Outbox, opened: Callable[[], None]
    ) -> None:
        encode = endpoint.service.encoder.message(endpoint.method.output_type)
        raw = endpoint.framings is not None and options.STREAM_MODE_RAW in endpoint.framings.modes
        read = endpoint.framings.open(options.STREAM_MODE_RAW).message if raw and endpoint.framings else None

        async def write(message: Any) -> None:
            opened()
            frame = orjson.dumps(encode(message)) if read is None else read(message)
            await outbox.put(frame.decode(errors="replace"))

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

    async def _send_all(self, outbox: Outbox) -> None:
        while (frame := await outbox.next()) is not None:
            await self._send({"type": "websocket.send", "text": frame})

    async def _accept(self) -> None:
        if not self._accepted:
            self._accepted = True
            await self._send({"type": "websocket.accept", "headers": self._responder.encoded([])})

    async def _fail(self, failure: Failure) -> None:
        if not self._accepted and "websocket.http.response" in self.request.scope.get("extensions", {}):
            reply = self._responder.error_reply(failure)
            headers = self._responder.encoded([*reply.headers, ("content-length", str(len(reply.body)))])
            await self._send({"type": "websocket.http.response.start", "status": reply.status, "headers": headers})
            await self._send({"type": "websocket.http.response.body", "body": reply.body})
            return
        reason = f"{failure.status_name}: {failure.message}".encode()[:_REASON_BYTES]
        code = TOO_BIG if failure.http_status == 413 else _CLOSE_CODES.get(failure.code, INTERNAL)
        try:
            # A client that does not read can't be told why: the connection is cut.
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._accept()
                await self._send({"type": "websocket.close", "code": code, "reason": reason.decode(errors="ignore")})
        except (TimeoutError, OSError):
            log.info("a client was cut off", extra={"action": "client_cut_off", "request_id": self.request_id})
