"""What the supervisor asks of the kernel beyond `os`."""

from __future__ import annotations

import ctypes
import os
from time import monotonic_ns
from typing import NamedTuple

_PR_SET_CHILD_SUBREAPER = 36
_FALLOC_FL_KEEP_SIZE = 1
_FALLOC_FL_PUNCH_HOLE = 2

PREFERRED_NICE = -10
OOM_SCORE = b"500"
LOOK_NS = 50_000_000

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


def offer_to_oom_killer(pid: int) -> None:
    """Lets the kernel, when memory is short, end this process and its children before the service's own."""
    try:
        fd = os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.write(fd, OOM_SCORE)
    except OSError:
        pass
    finally:
        os.close(fd)


def limit_by_rlimits(pid: int, memory_bytes: int, processes: int) -> None:
    """Limits of each process by itself, and of the user's processes; inherited, and not to be raised again."""
    import resource

    for kind, most in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_NPROC, processes)):
        if most:
            try:
                hard = resource.prlimit(pid, kind)[1]
                most = most if hard == resource.RLIM_INFINITY else min(most, hard)
                resource.prlimit(pid, kind, (most, most))
            except OSError:
                pass  # It has ended already.


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


def process_of(thread: int) -> int:
    """The process that a thread is of; itself when that cannot be seen any more."""
    try:
        _, found, rest = read(f"/proc/{thread}/status").partition(b"\nTgid:\t")
    except OSError:
        return thread
    return int(rest.partition(b"\n")[0]) if found else thread


def all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208


def last_pid() -> int:
    """The newest process number that was given: while it stays the same, nothing on this machine has forked."""
    return int(read("/proc/loadavg").rsplit(b" ", 1)[1])


def descendants(root: int) -> list[Process]:
    """Every living process below ``root``: of one moment, unless the machine forks all the time."""
    looked = look(monotonic_ns() + LOOK_NS)
    children: dict[int, list[Process]] = {}
    for pid, found in looked.items():
        if found is not None and found.parent not in looked and found.parent != 0:
            found = process(pid)  # Its parent has ended meanwhile: it has another one now.
        if found is not None:
            children.setdefault(found.parent, []).append(found)
    tree: list[Process] = []
    queue = [root]
    while queue:
        for child in children.get(queue.pop(), ()):
            tree.append(child)
            queue.append(child.pid)
    return [found for found in tree if not found.zombie]


def look(deadline_ns: int) -> dict[int, Process | None]:
    """Looks at all processes, and at those that come meanwhile, until there are none or the time is over."""
    looked: dict[int, Process | None] = {}
    while True:
        before = last_pid()
        for pid in all_pids():
            if pid not in looked:
                looked[pid] = process(pid)
        if last_pid() == before or monotonic_ns() > deadline_ns:
            return looked


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
