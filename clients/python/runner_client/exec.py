"""An interactive command: input and output in one stream that resumes by itself, without losing or repeating a byte."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

from grpc import aio

from runner.v1.command_service_pb2 import ExecCommandRequest, ExecInput, ExecOutput, ExecStarted
from runner.v1.input_pb2 import EndOfInput, InputRecord, InputStatus, TerminalSize
from runner.v1.log_pb2 import LogEnd
from runner_client.calls import Caller
from runner_client.errors import ClientError, Unavailable
from runner_client.streams import send

PIECE_BYTES = 32 * 1024
"""Of input in one message."""
HELD_BYTES = 256 * 1024
"""Input that `write` takes before the server has it."""


class ExecSession:
    """One interactive command. Iterate over :meth:`output`; meanwhile give it input.

    Input is taken in the order of the calls. What the server had not confirmed when the connection was cut is given
    again, at the same place, once it is back. The command outlives the session: stop iterating to detach.

    Several sessions may be connected with one command: each is a writer of its own, so that what all of them give
    arrives once, each one's in its order. A program that is killed and started again goes on as the same writer, by its
    ``writer_id``: of all that it gave the first :attr:`kept` places are there, a byte is one.
    """

    def __init__(self, caller: Caller, method: Callable[..., Any], opening: ExecCommandRequest) -> None:
        """``opening``: the first message, with ``start`` or ``attach``."""
        self._caller = caller
        self._method = method
        self._opening = opening
        self.writer_id = self._opening.writer_id = opening.writer_id or uuid4().hex
        self._given: deque[tuple[int, InputRecord]] = deque()
        """Sent, with their places, and not confirmed."""
        self._waiting: deque[InputRecord] = deque()
        """Not sent yet, because there is no room."""
        self._next = 0
        """The place of what is sent next, in what we give."""
        self._status = InputStatus()
        """How far the server is."""
        self._held = 0
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self.job_id = ""
        """Known once the first connection stands."""
        self.started = asyncio.Event()
        self.takes_input = True
        self.end: LogEnd | None = None
        """How it ended, once :meth:`output` is over."""

    @property
    def kept(self) -> int:
        """Of all that this writer gave the places that the server has, once :attr:`started`."""
        return self._status.writer_offset

    async def write(self, data: bytes) -> None:
        """Gives bytes, and waits while too much is on its way."""
        for at in range(0, len(data), PIECE_BYTES):
            while self._held >= HELD_BYTES:
                self._room.clear()
                await self._room.wait()
            piece = data[at : at + PIECE_BYTES]
            self._held += len(piece)
            self._give(InputRecord(data=piece))

    def finish(self) -> None:
        """Ends the input; on a terminal, what Ctrl-D is there."""
        self._give(InputRecord(end=EndOfInput()))

    def resize(self, rows: int, columns: int) -> None:
        """The terminal has another size."""
        self._give(InputRecord(resize=TerminalSize(rows=rows, columns=columns)), urgent=True)

    def signal(self, number: int) -> None:
        """Sends a signal to the foreground processes. It does not wait behind bytes that have no room yet."""
        self._give(InputRecord(signal=number), urgent=True)

    async def output(self) -> AsyncIterator[ExecOutput]:
        """Yields what the command writes until it has ended; `end` is set then. Raises a :class:`ClientError`."""
        retry = self._caller.retry()
        while True:
            call = self._method(metadata=self._caller.metadata)
            sending: asyncio.Task[None] | None = None
            try:
                await send(call, self._opening)
                while (message := await call.read()) is not aio.EOF:
                    self._caller.reached()
                    retry.progress()
                    match message.WhichOneof("response"):
                        case "started":
                            retry = self._caller.retry()  # It is there: from now on it is waited for longer.
                            self._resume(message.started)
                            sending = asyncio.create_task(self._send(call))
                        case "input":
                            self._confirm(message.input)
                        case "output":
                            yield message.output
                            self._opening.attach.cursor = message.output.cursor
                        case "end":
                            self.end = message.end
                            return
                cut: ClientError = Unavailable("The stream stopped before its end.")
            except aio.AioRpcError as error:
                cut = self._caller.met(error)
            finally:
                call.cancel()
                if sending is not None:
                    sending.cancel()
            await retry.pause(cut)

    def _give(self, record: InputRecord, *, urgent: bool = False) -> None:
        if urgent:
            self._waiting.appendleft(record)
        else:
            self._waiting.append(record)
        self._changed.set()

    def _resume(self, started: ExecStarted) -> None:
        self.job_id = started.job_id
        self.takes_input = started.HasField("input")
        cursor = self._opening.attach.cursor
        self._opening = ExecCommandRequest(writer_id=self.writer_id)
        self._opening.attach.job_id, self._opening.attach.cursor = started.job_id, cursor
        self._confirm(started.input)
        self.started.set()

    def _confirm(self, status: InputStatus) -> None:
        while self._given and self._given[0][0] + _places(self._given[0][1]) <= status.writer_offset:
            self._held -= len(self._given.popleft()[1].data)
        if not self._given:
            self._next = max(self._next, status.writer_offset)  # Of a session before us that had our name.
        self._status = status
        self._changed.set()
        self._room.set()

    def _has_room(self) -> bool:
        under_way = self._next - self._status.writer_offset
        return self._status.next_offset + under_way < self._status.limit_offset

    async def _send(self, call: Any) -> None:
        """Sends again what was not confirmed, then what comes, as far as there is room."""
        for offset, record in list(self._given):
            await send(call, _input(offset, record))
        while self.takes_input:
            self._changed.clear()
            while self._waiting and (not self._waiting[0].HasField("data") or self._has_room()):
                record = self._waiting.popleft()
                offset, self._next = self._next, self._next + _places(record)
                self._given.append((offset, record))
                if not await send(call, _input(offset, record)):
                    return  # Whoever reads knows why.
            await self._changed.wait()


def _input(offset: int, record: InputRecord) -> ExecCommandRequest:
    return ExecCommandRequest(input=ExecInput(offset=offset, record=record))


def _places(record: InputRecord) -> int:
    return len(record.data) if record.HasField("data") else 1
