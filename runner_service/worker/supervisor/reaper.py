"""Reaps every child: main processes of jobs, helpers, and, as this process is a subreaper, whatever lost its parent."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from time import monotonic_ns

from runner_service.worker.supervisor.attempt import Attempt
from runner_service.worker.supervisor.loop import MILLISECOND, Loop, Timer
from runner_service.worker.supervisor.tree import Tree

MAX_REAPED = 512
"""In one turn."""
STRAY_NS = 200 * MILLISECOND
"""From the death of an unknown orphan to a look for others."""


class Reaper:
    """Tells attempts of the deaths that concern them, and drives on those that are ending."""

    def __init__(self, loop: Loop, tree: Tree, live: Mapping[str, Attempt]) -> None:
        self._loop = loop
        self._tree = tree
        self._live = live
        self._look_again_ns = 0
        self._stray: Timer | None = None
        loop.on_signal(signal.SIGCHLD, self._reap)

    def _reap(self) -> None:
        reaped = 0
        while reaped < MAX_REAPED:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            reaped += 1
            self._reaped(pid, status, int((usage.ru_utime + usage.ru_stime) * 1_000_000), usage.ru_maxrss)
        else:  # They die as fast as they are reaped; others want a turn too.
            self._loop.call_later(0, self._reap)
        if reaped:
            self._look_at_the_ending()

    def _reaped(self, pid: int, status: int, cpu_us: int, max_rss_kib: int) -> None:
        owner = self._tree.main_reaped(pid)
        if owner is not None:
            self._live[owner].main_exited(os.waitstatus_to_exitcode(status), cpu_us, max_rss_kib)
            return
        attempt = self._live.get(self._tree.owner_of(pid) or "")
        if attempt is not None:
            attempt.add_usage(cpu_us, max_rss_kib)
        elif pid in self._tree.helpers:
            self._tree.helpers.discard(pid)
        elif self._stray is None:
            self._stray = self._loop.call_later(STRAY_NS, self._look_for_strays)

    def _look_at_the_ending(self) -> None:
        """One look at the processes for all attempts that are ending.

        Where thousands die, one look must not follow the other; each attempt also looks by a timer of its own.
        """
        ending = {attempt.attempt_id: attempt for attempt in self._live.values() if attempt.ending}
        begun = monotonic_ns()
        if not ending or begun < self._look_again_ns:
            return
        members = self._tree.members(ending)
        now = monotonic_ns()
        self._look_again_ns = now + (now - begun if now - begun > MILLISECOND else 0)
        for attempt in ending.values():
            attempt.look(members)

    def _look_for_strays(self) -> None:
        """An orphan that nobody knew has died; there may be others, and to look is to find out whose they are."""
        self._stray = None
        self._tree.members()
