"""Request bodies of client-streaming RPCs as they arrive, and forms of unary ones."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from gateway.body import too_large
from gateway.departure import ClientLeft, Receive
from gateway.endpoints import Endpoint
from gateway.errors import Reason, refusal
from gateway.pieces import Form, Lines, Pieces, Raw, is_form
from gateway.request import HttpRequest


def check_upload(endpoint: Endpoint, request: HttpRequest) -> None:
    """Refuses what can be refused before a byte is read: 413 for a body that is announced too large, 415."""
    encoding = (request.header("content-encoding") or "identity").strip().lower()
    if encoding != "identity":
        raise refusal(Reason.MEDIA_TYPE_UNSUPPORTED, "a streamed body can't be compressed", http_status=415)
    multipart = endpoint.rules.multipart
    if endpoint.takes_forms and not multipart.or_raw and not is_form(request):
        raise refusal(Reason.MEDIA_TYPE_UNSUPPORTED, "the body must be multipart/form-data", http_status=415)
    length = request.header("content-length")
    known = length is not None and length.isdecimal()
    if endpoint.binder.raw_body and known and int(length or 0) > endpoint.max_body_bytes:
        raise too_large(endpoint.max_body_bytes)


def pieces_of(endpoint: Endpoint, head: Any, request: HttpRequest) -> Pieces:
    """How a body is cut into messages. ``head`` is what they share; the fields of a form are added to it."""
    binder, limit = endpoint.binder, endpoint.max_body_bytes

    def emit(piece: bytes, content_type: str) -> Any:
        return binder.bind_piece(head, piece, content_type)

    if endpoint.takes_forms and is_form(request):
        return Form(binder, head, request, limit, part=endpoint.rules.multipart.part, emit=emit)
    if binder.raw_body:
        return Raw(request, limit, emit)
    return Lines(binder, head, request, limit)


class Upload:
    """An async iterator of request messages.

    Raises ``Failure`` (400, 413) where the body is at fault. When the client leaves it just waits: whoever watches the
    connection (see ``receive_after``) then cancels the call. ``end`` makes one more message, of a body that came whole.
    """

    def __init__(self, pieces: Pieces, receive: Receive, end: Callable[[], Any] | None = None) -> None:
        self._pieces = pieces
        self._receive = receive
        self._end = end
        self._messages: list[Any] = []
        self._more = True
        self._done = asyncio.Event()

    def __aiter__(self) -> Upload:
        return self

    async def __anext__(self) -> Any:
        while not self._messages:
            if not self._more:
                self._done.set()
                raise StopAsyncIteration
            data, last = await self._next()
            messages = [*self._pieces.push(data, last=last)]
            if last and self._end is not None:
                messages.append(self._end())
            # Reversed, to be taken from the end.
            self._messages = messages[::-1]
        return self._messages.pop()

    async def receive_after(self) -> dict[str, Any]:
        """The ASGI receive for who watches the connection: what comes after the body."""
        await self._done.wait()
        return await self._receive()

    async def _next(self) -> tuple[bytes, bool]:
        """Some of the body, and whether that is all of it."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._done.set()
            await asyncio.Event().wait()
        self._more = message.get("more_body", False)
        return message.get("body", b""), not self._more


async def read_form(endpoint: Endpoint, head: Any, request: HttpRequest, receive: Receive) -> Any:
    """The one request of a unary RPC, from a form. Raises ``Failure`` (400, 413) and ``ClientLeft``."""
    content: list[bytes] = []
    types: list[str] = []

    def keep(piece: bytes, content_type: str) -> None:
        content.append(piece)
        types.append(content_type)

    part = endpoint.rules.multipart.part
    form = Form(endpoint.binder, head, request, endpoint.max_body_bytes, part=part, emit=keep)
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        more = message.get("more_body", False)
        deque(form.push(message.get("body", b""), last=not more), maxlen=0)
    return endpoint.binder.bind_piece(head, b"".join(content), types[-1])
