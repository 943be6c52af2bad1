"""Request bodies of client-streaming RPCs: NDJSON lines, or raw pieces, as they arrive."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.binding import Binder
from gateway.body import too_large
from gateway.departure import Receive
from gateway.errors import Reason, refusal
from gateway.request import HttpRequest


def check_upload(request: HttpRequest, limit: int | None) -> None:
    """Refuses what can be refused before a byte is read: 413 for a raw body that is announced too large, 415."""
    encoding = (request.header("content-encoding") or "identity").strip().lower()
    if encoding != "identity":
        raise refusal(Reason.MEDIA_TYPE_UNSUPPORTED, "a streamed body can't be compressed", http_status=415)
    length = request.header("content-length")
    if limit is not None and length is not None and length.isdecimal() and int(length) > limit:
        raise too_large(limit)


class Upload:
    """An async iterator of request messages. Nothing is held but the line that is not complete yet.

    Raises ``Failure`` (400, 413) where the body is at fault. When the client leaves it just waits: whoever watches the
    connection (see ``receive_after``) then cancels the call.
    """

    def __init__(self, binder: Binder, head: Any, request: HttpRequest, receive: Receive, limit: int) -> None:
        self._binder = binder
        self._head = head
        self._request = request
        self._receive = receive
        self._limit = limit  # of a line; of the whole body when it is raw
        self._pending = b""
        self._lines: list[bytes] = []
        self._size = 0
        self._more = True
        self._done = asyncio.Event()

    def __aiter__(self) -> Upload:
        return self

    async def __anext__(self) -> Any:
        while True:
            while self._lines:
                line = self._lines.pop(0)
                if line.strip():
                    return self._binder.bind_part(self._head, self._request, line)
            if not self._more:
                self._done.set()
                raise StopAsyncIteration
            piece = await self._next_piece()
            if self._binder.raw_body:
                if piece:
                    return self._binder.bind_part(self._head, self._request, piece)
                continue
            self._split(piece)

    async def receive_after(self) -> dict[str, Any]:
        """The ASGI receive for who watches the connection: what comes after the body."""
        await self._done.wait()
        return await self._receive()

    async def _next_piece(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._done.set()
            await asyncio.Event().wait()
        self._more = message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        self._size += len(piece)
        if self._binder.raw_body and self._size > self._limit:
            raise too_large(self._limit)
        return piece

    def _split(self, piece: bytes) -> None:
        *lines, rest = (self._pending + piece).split(b"\n") if b"\n" in piece else [self._pending + piece]
        if max(map(len, [*lines, rest])) > self._limit:
            raise too_large(self._limit)
        self._lines += lines
        self._pending = rest
        if not self._more:
            self._lines.append(rest)
            self._pending = b""
