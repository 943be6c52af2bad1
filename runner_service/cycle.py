"""One request and its reply on a connection: uvicorn's, with the extension of ``gateway.whole_replies``, and made of
less. Most bodies are there before they are asked for, in one piece, and nobody waits for anything.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from gateway.whole_replies import WHOLE_REPLY, lines

if TYPE_CHECKING:
    from runner_service.connections import HttpConnection


class Outgoing:
    """The whole replies of one turn of the event loop, on their way to any connections of a server.

    They are written together, behind the turn. To wake a client that waits costs as much as all else of a write, and
    one that is awake need not be woken: under load that is a fifth of the time of a request. A reply that is alone in
    its turn is held up by nothing.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []
        self._headers: list[tuple[bytes, bytes]] = []
        self._lines = b""

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

    def server_lines(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """The lines of what the server says in every reply. Its list is another once a second, for the date."""
        if headers is not self._headers:
            self._headers, self._lines = headers, lines(headers)
        return self._lines


class _News:
    """What of ``asyncio.Event`` a cycle needs; it becomes one when there is something to wait for."""

    there = False
    _event: asyncio.Event | None = None

    def set(self) -> None:
        self.there = True
        if self._event is not None:
            self._event.set()

    async def wait(self) -> None:
        if self._event is None:
            self._event = asyncio.Event()
        self._event.clear()
        await self._event.wait()


async def _end_so(failed: BaseException | None, *_: Any) -> None:
    """An application that does as one before it did."""
    if failed is not None:
        raise failed


def _nothing() -> None:
    pass


class Cycle(RequestResponseCycle):
    """One request and its reply."""

    # How every cycle begins; most need few attributes of their own.
    logger = logging.getLogger("uvicorn.error")
    access_log = False
    disconnected = False
    more_body = True
    response_started = False
    response_complete = False
    chunked_encoding: bool | None = None
    expected_content_length = 0

    def __init__(self, connection: HttpConnection, *, keep_alive: bool) -> None:
        self.scope = connection.scope
        self.transport = connection.transport
        self.flow = connection.flow
        self.outgoing = connection.outgoing
        self.default_headers = connection.server_state.default_headers
        self.waiting_for_100_continue = connection.expect_100_continue
        self.keep_alive = keep_alive
        self.on_response = connection.on_response_complete
        self.message_event: Any = _News()
        self.body: Any = b""
        self._tasks = connection.tasks

    def start(self, loop: asyncio.AbstractEventLoop, app: Any) -> None:
        """Calls the application, in a task that the server knows until it is over."""
        self._tasks.add(loop.create_task(self.run_asgi(app)))

    async def run_asgi(self, app: Any) -> None:
        try:
            failed = None
            try:
                await app(self.scope, self.receive, self.send)
            except BaseException as error:
                failed = error
            if failed is not None or not (self.response_complete or self.disconnected):
                await super().run_asgi(partial(_end_so, failed))  # which says it in the log, and to the client
        finally:
            self.on_response = _nothing  # that a connection and its last request do not hold each other
            # Its last step. A callback of the task would take another turn of the loop.
            task = asyncio.current_task()
            assert task is not None
            self._tasks.discard(task)

    def add(self, piece: bytes) -> None:
        """Takes a piece of the body."""
        if not self.body:
            self.body = piece
        elif type(self.body) is bytearray:
            self.body += piece
        else:
            self.body = bytearray(self.body + piece)

    async def receive(self) -> Any:
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        news = self.message_event
        if not self.disconnected and not self.response_complete:
            if self.flow.read_paused:
                self.flow.resume_reading()
            if not news.there:
                await news.wait()
            news.there = False
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self.body = self.body, b""
        return {"type": "http.request", "body": bytes(body), "more_body": self.more_body}

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
        reply = b"%b%b%b%b%b" % (
            STATUS_LINE[message["status"]],
            self.outgoing.server_lines(self.default_headers),
            message["head"],
            b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n",
            message["body"],
        )
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.message_event.set()
        if self.keep_alive:
            self.outgoing.put(self.transport, reply)
        else:
            self.transport.write(reply)
            self.transport.close()
        self.on_response()
