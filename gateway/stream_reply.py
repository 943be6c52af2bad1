"""The HTTP reply of a server stream: its framing, its headers, and how much of it is sent."""

from __future__ import annotations

from typing import Any

from gateway.call import Call
from gateway.departure import Receive
from gateway.dispatch import Write
from gateway.downloads import Slicer, deliver
from gateway.endpoints import Endpoint
from gateway.errors import Failure
from gateway.http_reply import HttpReply
from gateway.metadata import ReplyShape, reply_shape
from gateway.negotiate import negotiate
from gateway.request import Headers, HttpRequest
from gateway.responder import Responder, missing
from gateway.site import Site
from gateway.streams import Send, Stream
from runner.gateway.v1 import options_pb2 as options


class StreamReply:
    """Runs the servicer of one stream, and sends what it says."""

    def __init__(self, site: Site, request: HttpRequest, responder: Responder, receive: Receive, send: Send) -> None:
        self._site = site
        self._request = request
        self._responder = responder
        self._receive = receive
        self._send = send

    async def run(self, endpoint: Endpoint, call: Call, message: Any) -> None:
        """Answers the request. Raises ``Failure`` for what failed before the headers, and ``ClientLeft``."""
        assert endpoint.framings is not None
        mode = endpoint.framings.modes[0]
        try:
            accept = None if endpoint.rules.any_accept else self._request.header("accept")
            mode = negotiate(accept, endpoint.framings.modes)
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
            shape = reply_shape(call.initial, call.trailing, listed=settings.reply_metadata)
            headers = self._headers(stream, shape)
            status = shape.status or endpoint.rules.success_status or 200
            if mode == options.STREAM_MODE_RAW:
                await self._download(stream, status, headers, shape.length)
                return
            await self._responder.start(status, headers)
            if self._responder.head_only:
                await self._responder.end()
                return
            await self._send_all(stream, None)
        finally:
            self._site.streams.discard(stream)
            await stream.stop()

    async def _download(self, stream: Stream, status: int, headers: Headers, length: int | None) -> None:
        """Bytes as they are: all of them, a range of them, or none when the client has them."""
        delivery = deliver(self._request, status, headers, length)
        end = length if delivery.end is None else delivery.end
        if end == 0:
            await self._responder.reply(HttpReply(delivery.status, b"", delivery.headers))
            return
        headers = delivery.headers
        if end is not None:
            headers = [*headers, ("content-length", str(end - delivery.start))]
        await self._responder.start(delivery.status, headers)
        if self._responder.head_only:
            await self._responder.end()
            return
        await self._send_all(stream, None if end is None else Slicer(delivery.start, end))

    async def _send_all(self, stream: Stream, slicer: Slicer | None) -> None:
        # When that answers False the reply is left open: the server then cuts the connection, which is the only way
        # left to say that it is not complete.
        await stream.send_all(
            self._send,
            keepalive_seconds=self._site.settings.keepalive_seconds,
            render=self._responder.render_body,
            slicer=slicer,
        )

    def _headers(self, stream: Stream, shape: ReplyShape) -> Headers:
        headers = [
            ("content-type", shape.content_type or stream.framing.media_type),
            ("cache-control", "no-cache"),
            # nginx and its kin would otherwise hold events back until a buffer is full
            ("x-accel-buffering", "no"),
        ]
        return [*missing(headers, shape.headers), *shape.headers]
