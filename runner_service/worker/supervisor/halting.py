"""Stops a whole tree without a cgroup, though it forks faster than /proc can be read.

What is stopped does not fork. So every process that may belong to the tree is stopped on sight, the newest first, and
the ones that have come meanwhile are looked at, again and again: each round is shorter than the one before. It is over
when nobody on the machine has forked during a round, which the newest process number tells: then all was seen.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from time import monotonic_ns

from runner_service.worker.supervisor import linux

HALT_NS = 400_000_000
"""Then it is given up for now, so that other jobs get their turn; the caller comes again."""
_NUMBERS = 1 << 22


def halt(me: int, sessions: Collection[int], others: Collection[int]) -> set[int]:
    """Stops every process below ``me`` that is in one of the sessions, has lost its parent, or descends from such a
    one; ``others`` are left alone, and so is what descends from them. Returns the stopped."""
    stopped: set[int] = set()
    parents: dict[int, int] = {}
    deadline = monotonic_ns() + HALT_NS
    while True:
        before = linux.last_pid()
        # Numbers go round: those above the newest are the oldest.
        for pid in sorted(linux.all_pids(), key=lambda pid: (before - pid) % _NUMBERS):
            if pid in parents or pid in others or pid == me:
                continue
            found = linux.process(pid)
            parents[pid] = 0 if found is None or found.zombie else found.parent
            if parents[pid] == me or parents[pid] in stopped or (parents[pid] and found and found.session in sessions):
                _stop(pid, stopped)
        grown = True
        while grown:  # Some were looked at before their parent was stopped.
            heirs = [pid for pid, parent in parents.items() if parent in stopped and pid not in stopped]
            for pid in heirs:
                _stop(pid, stopped)
            grown = bool(heirs)
        if linux.last_pid() == before or monotonic_ns() > deadline:
            return stopped


def _stop(pid: int, stopped: set[int]) -> None:
    stopped.add(pid)
    try:
        os.kill(pid, signal.SIGSTOP)
    except (ProcessLookupError, PermissionError):
        pass
