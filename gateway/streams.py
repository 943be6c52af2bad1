"""Server streams → HTTP replies.

Two tasks: a *pump* runs the servicer and frames what it says; the request's own task sends what has gathered,
in one piece. So whatever is ready goes out together, a slow client holds the servicer back after
``batch_bytes``, silence is noticed without touching the servicer, and a client that leaves cancels it at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from google.rpc import code_pb2

from gateway.departure import ClientLeft, Receive, until_gone
from gateway.dispatch import Write
from gateway.downloads import Slicer
from gateway.errors import Failure
from gateway.framing import Framing

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Stream:
    """One server stream on its way to one client."""

    def __init__(self, framing: Framing, *, batch_bytes: int) -> None:
        self.framing = framing
        self._batch_bytes = batch_bytes
        self._chunks: list[bytes] = []
        self._size = 0
        self._news = asyncio.Event()  # something to send, or the end
        self._room = asyncio.Event()
        self._ended = False
        self._gone = False
        self._interrupted = False
        self._failure: Failure | None = None
        self._pump: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None

    def start(self, run: Callable[[Write], Coroutine[Any, Any, None]], receive: Receive) -> None:
        """Starts the servicer; ``run`` gets the function that it writes messages with."""
        self._pump = asyncio.create_task(self._run(run))
        self._watch = asyncio.create_task(self._watch_client(receive))

    async def first(self, *, patience: float) -> None:
        """Returns once the headers can be sent: at the first message, at the end of an empty stream, or, where
        the headers do not depend on it, when ``patience`` seconds are over.

        Raises the ``Failure`` of a stream that failed before its first message, and ``ClientLeft``.
        """
        try:
            async with asyncio.timeout(patience if self.framing.early else None):
                await self._news.wait()
        except TimeoutError:
            return
        self._check_client()
        if self._failure is not None and not self._chunks:
            raise self._failure

    async def send_all(
        self,
        send: Send,
        *,
        keepalive_seconds: float,
        render: Callable[[Failure], bytes],
        slicer: Slicer | None = None,
    ) -> bool:
        """Sends the body to its end; False when only a cut connection can tell the client of an error.

        ``render`` makes the body of an error that came after the headers; ``slicer`` says what of the body is sent.
        Raises ``ClientLeft``.
        """
        while True:
            if not self._news.is_set():
                try:
                    async with asyncio.timeout(keepalive_seconds):
                        await self._news.wait()
                except TimeoutError:
                    if self.framing.keep_alive:
                        await send(_body(self.framing.keep_alive))
                    continue
            self._check_client()
            ended = self._ended
            body = self._take()
            if slicer is not None:
                body = slicer.cut(body)
                if slicer.complete:
                    await send({"type": "http.response.body", "body": body, "more_body": False})
                    return True
                if ended:  # before the length that was announced
                    self._failure = self._failure or Failure(code_pb2.DATA_LOSS, "the stream is too short")
            if not ended:
                if body:
                    await send(_body(body))
                continue
            if self._failure is not None:
                told = self.framing.error(render(self._failure), again=self._interrupted)
                if told is None:
                    if body:
                        await send(_body(body))
                    return False
                body += told
            else:
                body += self.framing.end()
            await send({"type": "http.response.body", "body": body, "more_body": False})
            return True

    def interrupt(self, failure: Failure) -> None:
        """Ends the stream with an error, whatever its servicer does: the server is going away."""
        if not self._ended:
            self._failure = failure
            self._interrupted = True
            self._end()
            if self._pump is not None:
                self._pump.cancel()

    async def stop(self) -> None:
        """Cancels the servicer if it still runs, and waits until it has cleaned up."""
        tasks = [task for task in (self._pump, self._watch) if task is not None]
        for task in tasks:
            task.cancel()
        # Their outcome is known already: the pump keeps its failure, the watch has none.
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, run: Callable[[Write], Coroutine[Any, Any, None]]) -> None:
        # Unless something better is known at the end: a stream must not look complete when it is not.
        failure: Failure | None = Failure(code_pb2.CANCELLED, "the stream was cancelled")
        try:
            await run(self._write)
            failure = None
        except Failure as raised:
            failure = raised
        finally:
            self._failure = self._failure or failure
            self._end()

    async def _write(self, message: Any) -> None:
        chunk = self.framing.message(message)
        self._chunks.append(chunk)
        self._size += len(chunk)
        self._news.set()
        while self._size >= self._batch_bytes:
            self._room.clear()
            await self._room.wait()

    async def _watch_client(self, receive: Receive) -> None:
        await until_gone(receive)
        self._gone = True
        self._news.set()

    def _take(self) -> bytes:
        self._news.clear()
        if self._ended:
            self._news.set()
        body = b"".join(self._chunks) if len(self._chunks) != 1 else self._chunks[0]
        self._chunks.clear()
        self._size = 0
        self._room.set()
        return body

    def _end(self) -> None:
        self._ended = True
        self._news.set()

    def _check_client(self) -> None:
        if self._gone:
            raise ClientLeft


def _body(body: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": True}
