"""A pseudo-terminal for an attempt: this side is read and written, the other is the terminal of the processes."""

from __future__ import annotations

import fcntl
import os
import struct
import termios

MOST_SIZE = 0xFFFF


def open_terminal(rows: int, columns: int) -> tuple[int, int, str]:
    """Makes one of a size. Returns this side, the other, and the path by which a process gets the other as its own.

    Raises:
        OSError: There are no more.
    """
    near, far = os.openpty()
    try:
        resize(near, rows, columns)
        return near, far, os.ttyname(far)
    except OSError:
        os.close(near)
        os.close(far)
        raise


def resize(near: int, rows: int, columns: int) -> None:
    """Gives it another size, of which its foreground processes are told (SIGWINCH)."""
    size = struct.pack("HHHH", min(rows, MOST_SIZE), min(columns, MOST_SIZE), 0, 0)
    fcntl.ioctl(near, termios.TIOCSWINSZ, size)


def foreground(near: int) -> int:
    """The foreground process group; 0 when there is none."""
    try:
        return max(0, os.tcgetpgrp(near))
    except OSError:
        return 0
