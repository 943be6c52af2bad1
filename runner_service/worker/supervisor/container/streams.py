"""Between the streams of a step, as the engine carries them on one connection, and the pilot's own three files.

Without a terminal the engine wraps output in frames: one byte of stream, three of nothing, the length in four. Nothing
is read from it that the supervisor does not take yet, so that a job waits for its spool in a container too.
"""

from __future__ import annotations

import os
import select
import socket

STDIN, STDOUT, STDERR = 0, 1, 2
_PIECE_BYTES = 1 << 16


class Streams:
    """One hijacked connection."""

    __slots__ = ("_frame_left", "_frame_to", "_head", "_input", "_pending", "_socket", "_terminal", "ended")

    def __init__(self, connection: socket.socket, first: bytes, *, terminal: bool) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._terminal = terminal
        self._head = bytearray()
        self._frame_to = STDOUT
        self._frame_left = 0
        self._pending: list[tuple[int, memoryview]] = []
        """Output that the pilot's files do not take yet."""
        self._input = memoryview(b"")
        """Of the job, that the engine does not take yet."""
        self.ended = False
        """The engine has nothing more to say."""
        self._sort(first)

    @property
    def drained(self) -> bool:
        """All that came was passed on."""
        return not self._pending

    @property
    def wants_input(self) -> bool:
        return not self._input and not self.ended

    def interests(self) -> dict[int, int]:
        """What to wait for: files, each with the events of poll."""
        wanted: dict[int, int] = {}
        if not self.ended:
            events = select.POLLOUT if self._input else 0
            if not self._pending:
                events |= select.POLLIN
            if events:
                wanted[self._socket.fileno()] = events
        if self._pending:
            wanted[self._pending[0][0]] = select.POLLOUT
        return wanted

    def move(self) -> None:
        """Passes on what can be passed on now."""
        self._write_out()
        while not self._pending and not self.ended:
            try:
                data = self._socket.recv(_PIECE_BYTES)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self._end()
                break
            self._sort(data)
            self._write_out()
        self._write_in()

    def give(self, data: bytes) -> None:
        """Input of the job; nothing: its end."""
        if self.ended:
            return
        if data:
            self._input = memoryview(data)
            self._write_in()
        else:
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def take_all(self) -> bytes:
        """Instead of passing it on: all output there is, until the end."""
        self._socket.settimeout(5.0)
        try:
            while data := self._socket.recv(_PIECE_BYTES):
                self._sort(data)
        except OSError:
            pass
        said = b"".join(bytes(piece) for _, piece in self._pending)
        self._pending.clear()
        self._end()
        return said

    def close(self) -> None:
        self._pending.clear()
        self._end()

    def _end(self) -> None:
        if not self.ended:
            self.ended = True
            self._input = memoryview(b"")
            self._socket.close()

    def _sort(self, data: bytes) -> None:
        """Splits what came into pieces by stream."""
        rest = memoryview(data)
        if self._terminal:
            if rest:
                self._pending.append((STDOUT, rest))
            return
        while rest:
            if not self._frame_left:
                missing = 8 - len(self._head)
                self._head += rest[:missing]
                rest = rest[missing:]
                if len(self._head) < 8:
                    return
                self._frame_to = STDERR if self._head[0] == STDERR else STDOUT
                self._frame_left = int.from_bytes(self._head[4:], "big")
                self._head.clear()
                continue
            piece = rest[: self._frame_left]
            self._pending.append((self._frame_to, piece))
            self._frame_left -= len(piece)
            rest = rest[len(piece) :]

    def _write_out(self) -> None:
        while self._pending:
            to, piece = self._pending[0]
            try:
                written = os.write(to, piece)
            except BlockingIOError:
                return
            except OSError:
                written = len(piece)  # Nobody reads any more.
            if written < len(piece):
                self._pending[0] = (to, piece[written:])
            else:
                del self._pending[0]

    def _write_in(self) -> None:
        while self._input:
            try:
                self._input = self._input[self._socket.send(self._input) :]
            except BlockingIOError:
                return
            except OSError:
                self._input = memoryview(b"")
