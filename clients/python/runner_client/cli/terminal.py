"""The terminal that we are called from: raw while a remote one is shown in it, and as it was afterwards, always."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import signal
import termios
import tty
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

STDIN = 0
DETACH_KEYS = b"\x10\x11"
"""Ctrl-P, then Ctrl-Q."""


def terminal_size() -> tuple[int, int]:
    """Rows and columns; 24 and 80 where there is no terminal."""
    try:
        size = os.get_terminal_size(STDIN)
    except OSError:
        return 24, 80
    return size.lines or 24, size.columns or 80


class RawTerminal:
    """Passes every key on as it is. A context manager, inside the loop; `restore` may be called at any time, twice too.

    Ctrl-Z goes to the other side; a stop from elsewhere gives the terminal back until we go on.
    """

    def __init__(self, *, resized: Callable[[int, int], None]) -> None:
        self._resized = resized
        self._before: list[Any] | None = None

    def __enter__(self) -> Self:
        atexit.register(self.restore)
        self._raw()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGWINCH, self._tell_size)
        loop.add_signal_handler(signal.SIGTSTP, self._stop)
        loop.add_signal_handler(signal.SIGCONT, self._go_on)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT):
            loop.remove_signal_handler(number)
        self.restore()
        atexit.unregister(self.restore)

    def restore(self) -> None:
        """Makes the terminal what it was."""
        before, self._before = self._before, None
        if before is not None:
            with contextlib.suppress(termios.error):  # It has gone.
                termios.tcsetattr(STDIN, termios.TCSADRAIN, before)

    def _raw(self) -> None:
        if self._before is None:
            self._before = termios.tcgetattr(STDIN)
            tty.setraw(STDIN, termios.TCSADRAIN)

    def _tell_size(self) -> None:
        self._resized(*terminal_size())

    def _stop(self) -> None:
        self.restore()
        os.kill(os.getpid(), signal.SIGSTOP)

    def _go_on(self) -> None:
        self._raw()
        self._tell_size()


class DetachKeys:
    """Finds the keys that detach among what is typed, wherever it is cut."""

    def __init__(self) -> None:
        self._held = b""

    def take(self, data: bytes) -> tuple[bytes, bool]:
        """Returns what goes to the other side, and whether the keys were among it. The first key alone is held back
        until it is clear what it is."""
        data = self._held + data
        self._held = b""
        before, found, _ = data.partition(DETACH_KEYS)
        if not found and data.endswith(DETACH_KEYS[:1]):
            before, self._held = data[:-1], DETACH_KEYS[:1]
        return before, bool(found)
