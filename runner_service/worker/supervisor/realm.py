"""The set of all processes that descend from the supervisor, from which none can escape by double fork or setsid.

Where cgroup v2 can be written, the supervisor moves itself into a cgroup of its own when it starts. Everything it
spawns is born there, and reading one file lists them all. A cgroup *per attempt* would name the owner of each process
as well, but a child can only be put there without a race by moving the supervisor to and fro around the spawn, and
such a move waits for a grace period of the kernel: measured 5–8 ms on an idle machine, more than the whole job.
So jobs share the cgroup, `tree` finds out whose a process is, and what forks faster than it can be looked at is ended
while the cgroup is frozen, which pauses the other jobs for some milliseconds.

Elsewhere the supervisor is a subreaper: /proc is walked down from it, which costs 35 µs per process of the machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from time import monotonic, sleep
from typing import Protocol

from runner_service.worker.supervisor import linux

LOOKS = 5
"""At /proc, which is not a picture of one moment."""
FREEZE_SECONDS = 0.5
"""Longest wait for all to be frozen; one in an uninterruptible wait is late, and cannot fork meanwhile."""


class Realm(Protocol):
    """Where the processes of all jobs are, and nobody else's but the supervisor itself."""

    def pids(self) -> list[int]:
        """Every living process in it, the supervisor left out."""

    def frozen(self) -> AbstractContextManager[bool]:
        """Nothing in it runs, so nothing forks, while this is entered; it says False where that is not possible.

        KILL works all the same.
        """


class ProcRealm:
    """By descent, from /proc."""

    __slots__ = ("_me",)

    def __init__(self) -> None:
        self._me = os.getpid()

    def pids(self) -> list[int]:
        found: list[int] = []
        for _ in range(LOOKS):
            try:
                os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return []  # Without children there are no descendants: the common case, at no cost.
            found = [process.pid for process in linux.descendants(self._me)]
            if found:
                break  # Else it has children that were not seen: one is another process by now, or is dead.
        return found

    @contextmanager
    def frozen(self) -> Iterator[bool]:
        yield False


class CgroupRealm:
    """By cgroup v2. Made by `enter`."""

    __slots__ = ("_me", "_procs", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._me = os.getpid()
        self._procs = os.open(f"{path}/cgroup.procs", os.O_RDWR | os.O_CLOEXEC)

    def pids(self) -> list[int]:
        content = b""
        while piece := os.pread(self._procs, 1 << 16, len(content)):
            content += piece
        me = self._me
        return [pid for pid in map(int, content.split()) if pid != me]

    @contextmanager
    def frozen(self) -> Iterator[bool]:
        try:
            write(f"{self.path.rpartition('/')[0]}/cgroup.procs", "0")  # This process must be outside to go on.
        except OSError:
            yield False
            return
        try:
            write(f"{self.path}/cgroup.freeze", "1")
            deadline = monotonic() + FREEZE_SECONDS
            while b"frozen 1" not in linux.read(f"{self.path}/cgroup.events") and monotonic() < deadline:
                sleep(0.001)
            yield True
        finally:
            write(f"{self.path}/cgroup.freeze", "0")
            write(f"{self.path}/cgroup.procs", "0")


def write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def make_cgroup() -> str:
    """Makes a cgroup v2 below this process's own and returns its path; empty when none can be made."""
    name = f"runner-{os.getpid()}-{os.urandom(3).hex()}"
    for mount in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
        try:
            own = next(
                line[3:] for line in linux.read("/proc/self/cgroup").decode().splitlines() if line.startswith("0::")
            )
            path = f"{mount}{own.rstrip('/')}/{name}"
            if os.path.exists(f"{mount}/cgroup.procs"):  # noqa: PTH110
                os.makedirs(path, exist_ok=True)  # noqa: PTH103
                return path
        except (OSError, StopIteration):
            continue
    return ""


def enter(path: str) -> Realm:
    """Moves this process into the cgroup ``path`` and returns its realm; by /proc when that is not allowed."""
    if path:
        try:
            write(f"{path}/cgroup.procs", "0")
            return CgroupRealm(path)
        except OSError:
            pass
    return ProcRealm()


def empty(path: str) -> None:
    """Kills everything in a cgroup, in one stroke where the kernel can (5.14)."""
    try:
        write(f"{path}/cgroup.kill", "1")
    except OSError:
        pass


def remove(path: str) -> bool:
    """Removes a cgroup; False when it still holds processes."""
    try:
        os.rmdir(path)  # noqa: PTH106
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
