"""Gives the input of an attempt to its processes, without ever waiting for them.

Data is written as far as the pipe or terminal takes it, the rest when it is ready for more. What is no data takes
effect when it arrives: a signal does not wait behind bytes that nobody reads. When nobody can read any more, input is
taken and dropped, as a pipe does with a writer that ignores its end.
"""

from __future__ import annotations

import os
import select
from binascii import a2b_base64
from collections import deque
from collections.abc import Callable, Iterable

from runner_service.domain.inputs import InputKind, InputRecord, PlacedInput, cut, placed
from runner_service.worker.supervisor.loop import Loop

MOST_WAITING = 512 * 1024
"""Places that may wait here: twice what the server sends ahead of what is written."""
END_OF_LINE_INPUT = b"\x04"
"""Ctrl-D: ends the input of who reads lines of a terminal, when it stands at the beginning of one."""


class Feed:
    """The writing end of the standard input of one attempt."""

    __slots__ = (
        "_at_line_start",
        "_fd",
        "_loop",
        "_on_resize",
        "_on_signal",
        "_on_written",
        "_terminal",
        "_waiting",
        "_watched",
        "received",
        "written",
    )

    def __init__(
        self,
        loop: Loop,
        fd: int,
        *,
        terminal: bool,
        on_written: Callable[[], None],
        on_signal: Callable[[int], None],
        on_resize: Callable[[int, int], None],
    ) -> None:
        """Takes over ``fd``."""
        os.set_blocking(fd, False)
        self._loop = loop
        self._fd = fd
        self._terminal = terminal
        self._on_written = on_written
        self._on_signal = on_signal
        self._on_resize = on_resize
        self._waiting: deque[PlacedInput] = deque()
        self._watched = False
        self._at_line_start = True
        self.received = 0
        """The place behind what is here."""
        self.written = 0
        """The place behind what the processes were given."""

    def take(self, offset: int, records: Iterable[InputRecord]) -> int:
        """Takes records that begin at ``offset`` and returns the place behind what is here then. What is here already
        is passed over, and what leaves a hole or has no room is not taken."""
        for one in placed(records, offset):
            if one.behind <= self.received:
                continue
            if one.offset > self.received or self.received - self.written >= MOST_WAITING:
                break
            if one.offset < self.received:
                one = cut(one, self.received)
            self.received = one.behind
            if one.record.kind is InputKind.SIGNAL:
                self._on_signal(one.record.signal)
            elif one.record.kind is InputKind.RESIZE:
                self._on_resize(*one.record.terminal_size)
            self._waiting.append(one)
        self._write()
        return self.received

    def close(self) -> None:
        """Nobody reads any more: what waits, and what comes, is dropped."""
        if self._fd >= 0:
            self._watch(False)
            os.close(self._fd)
            self._fd = -1

    def _write(self) -> None:
        before = self.written
        while self._waiting:
            one = self._waiting[0]
            if one.record.kind is InputKind.DATA and self._fd >= 0:
                done = self._write_some(one.record.payload)
                if done < one.record.places:
                    if done:
                        self.written = one.offset + done
                        self._waiting[0] = cut(one, self.written)
                    if self._fd >= 0:
                        break
                    continue
            elif one.record.kind is InputKind.END and not self._end():
                break
            self._waiting.popleft()
            self.written = one.behind
        self._watch(bool(self._waiting) and self._fd >= 0)
        if self.written > before:
            self._on_written()

    def _write_some(self, data: bytes) -> int:
        """Bytes written; all of them when nobody can read any more."""
        try:
            done = os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError:
            self.close()
            return len(data)
        if done:
            self._at_line_start = data[done - 1 : done] in b"\r\n"
        return done

    def _end(self) -> bool:
        """False when the terminal has no room for it yet."""
        if not self._terminal:
            self.close()
            return True
        if self._fd < 0:
            return True
        # Behind the beginning of a line the first only hands the line over.
        wanted = END_OF_LINE_INPUT if self._at_line_start else END_OF_LINE_INPUT * 2
        try:
            return os.write(self._fd, wanted) == len(wanted)
        except BlockingIOError:
            return False
        except OSError:
            self.close()
            return True

    def _watch(self, on: bool) -> None:
        if on and not self._watched:
            self._loop.add(self._fd, select.EPOLLOUT, lambda _mask: self._write())
        elif not on and self._watched:
            self._loop.remove(self._fd)
        self._watched = on


def records_of(wire: Iterable[tuple[int, str]]) -> list[InputRecord]:
    """Records from their JSON form. Raises ValueError."""
    return [InputRecord(InputKind(kind), a2b_base64(payload)) for kind, payload in wire]
