"""Which processes are alive, found by what is in their command line, environment or working directory."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def processes_of(mark: str) -> dict[int, str]:
    """The living processes that bear ``mark`` in their command line or work below it, with their command lines."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            directory = os.readlink(entry / "cwd")  # noqa: PTH115
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue  # it has just ended, or is a kernel thread
        if state != "Z" and (mark in words or mark in directory):
            found[int(entry.name)] = words
    return found


def end_processes_of(mark: str, *, seconds: float = 20.0) -> dict[int, str]:
    """Waits for the last of them, kills what is left after that, and returns what it had to kill."""
    deadline = time.monotonic() + seconds
    while (left := processes_of(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return left
