"""The set of all processes that descend from the supervisor, from which none can escape by double fork or setsid.

Where cgroup v2 can be written, the supervisor moves itself into a cgroup of its own when it starts. Everything it
spawns is born there or in a cell (see `cells`) below it, and reading one file lists them all. `tree` finds out whose a
process is that is in no cell, and what forks faster than it can be looked at is ended while the cgroup is frozen, which
pauses the other jobs for some milliseconds.

Elsewhere the supervisor is a subreaper: /proc is walked down from it, which costs 35 µs per process of the machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from time import monotonic, sleep
from typing import Protocol

from runner_service.worker.supervisor import linux
from runner_service.worker.supervisor.cells import write
from runner_service.worker.supervisor.hierarchies import below, shared

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
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return []  # Without children there are no descendants: the common case, at no cost.
        return [process.pid for process in linux.descendants(self._me)]

    @contextmanager
    def frozen(self) -> Iterator[bool]:
        yield False


class CgroupRealm:
    """By cgroup v2. Made by `enter`."""

    __slots__ = ("_has_cells", "_me", "_procs", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._me = os.getpid()
        self._procs = os.open(f"{shared(path)}/cgroup.procs", os.O_RDWR | os.O_CLOEXEC)
        self._has_cells = shared(path) != path

    def pids(self) -> list[int]:
        content = b""
        while piece := os.pread(self._procs, 1 << 16, len(content)):
            content += piece
        if self._has_cells:
            for cell in below(self.path):
                if cell != shared(self.path):
                    content += b"\n" + linux.read(f"{cell}/cgroup.procs")
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
            write(f"{shared(self.path)}/cgroup.procs", "0")


def enter(unified: str) -> Realm:
    """Moves this process into the cgroup v2 ``unified`` and returns its realm; by /proc when that is not allowed."""
    if unified:
        try:
            write(f"{shared(unified)}/cgroup.procs", "0")
            return CgroupRealm(unified)
        except OSError:
            pass
    return ProcRealm()
