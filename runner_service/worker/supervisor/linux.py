"""What the supervisor asks of the kernel beyond `os`."""

from __future__ import annotations

import ctypes
import os
from typing import NamedTuple

_PR_SET_CHILD_SUBREAPER = 36
_FALLOC_FL_KEEP_SIZE = 1
_FALLOC_FL_PUNCH_HOLE = 2

PREFERRED_NICE = -10

_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Makes orphaned descendants children of this process instead of init's."""
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def punch_hole(fd: int, start: int, end: int) -> bool:
    """Gives a part of a file back to the disk; False when the file system cannot."""
    mode = ctypes.c_int(_FALLOC_FL_KEEP_SIZE | _FALLOC_FL_PUNCH_HOLE)
    result: int = _libc.fallocate64(fd, mode, ctypes.c_int64(start), ctypes.c_int64(end - start))
    return result == 0


def hurry(on: bool) -> None:
    """Lets this process run before all ordinary ones, where it may: among thousands that fork it would get no turn.

    Otherwise it is only somewhat preferred, so that it notices them. Its children never inherit either.
    """
    try:
        policy = os.SCHED_FIFO if on else os.SCHED_OTHER
        os.sched_setscheduler(0, policy | os.SCHED_RESET_ON_FORK, os.sched_param(1 if on else 0))
        os.setpriority(os.PRIO_PROCESS, 0, PREFERRED_NICE)
    except OSError:
        pass


def boot_id() -> str:
    """Changes with every boot of the machine."""
    return read("/proc/sys/kernel/random/boot_id").decode().strip()


def read(path: str) -> bytes:
    """A whole small file, in as few system calls as there are."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = os.read(fd, 1 << 16)
        while len(content) % (1 << 16) == 0:
            more = os.read(fd, 1 << 16)
            if not more:
                break
            content += more
        return content
    finally:
        os.close(fd)


class Process(NamedTuple):
    """One line of /proc/PID/stat."""

    pid: int
    parent: int
    session: int
    started: int
    """Clock ticks since boot: with the pid it names a process for ever."""
    zombie: bool


def process(pid: int) -> Process | None:
    """Looks at a process; None when there is none."""
    try:
        fields = read(f"/proc/{pid}/stat").rpartition(b") ")[2].split()
    except OSError:
        return None
    return Process(pid, int(fields[1]), int(fields[3]), int(fields[19]), fields[0] in (b"Z", b"X"))


def all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208


def descendants(root: int) -> list[Process]:
    """Every living process below ``root``, from one pass over /proc."""
    children: dict[int, list[Process]] = {}
    for pid in all_pids():
        found = process(pid)
        if found is not None:
            children.setdefault(found.parent, []).append(found)
    tree: list[Process] = []
    queue = [root]
    while queue:
        for child in children.get(queue.pop(), ()):
            tree.append(child)
            queue.append(child.pid)
    return [found for found in tree if not found.zombie]


def environment_value(pid: int, name: bytes) -> str:
    """One variable of a process's environment as it was at its exec; empty when unknown."""
    try:
        environment = b"\0" + read(f"/proc/{pid}/environ")
    except OSError:
        return ""
    _, found, rest = environment.partition(b"\0" + name + b"=")
    return rest.partition(b"\0")[0].decode(errors="replace") if found else ""


def link(path: str) -> str:
    """Where a /proc link points; empty when it cannot be read."""
    try:
        return os.readlink(path)  # noqa: PTH115
    except OSError:
        return ""
