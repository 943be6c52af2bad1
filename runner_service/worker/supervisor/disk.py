"""Measures what an attempt has on disk, again and again, by a ``du`` that nobody waits for.

Quotas would do it better, and need a file system that has them; this ends a job some seconds after it went over its
limit. A measurement that took long is followed by a long pause, so that it never takes a tenth of a processor.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Sequence
from time import monotonic_ns

from runner_service.worker.supervisor.loop import SECOND, Loop, Timer

PAUSE_NS = 2 * SECOND
SHARE = 10
"""A measurement may take one part in so many of the time."""


class DiskWatch:
    """Of one attempt, from its start until `stop`."""

    __slots__ = ("_begun_ns", "_fd", "_helpers", "_limit", "_loop", "_on_over", "_places", "_said", "_timer")

    def __init__(
        self, loop: Loop, helpers: set[int], places: Sequence[str], limit: int, on_over: Callable[[], None]
    ) -> None:
        """
        Args:
            helpers: Takes the processes that measure: they belong to no attempt.
            places: Directories, measured together.
            on_over: Called once, when there is more than ``limit`` bytes in them.
        """
        self._loop = loop
        self._helpers = helpers
        self._places = places
        self._limit = limit
        self._on_over = on_over
        self._fd = -1
        self._said = b""
        self._begun_ns = 0
        self._timer: Timer | None = loop.call_later(PAUSE_NS, self._measure)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._close()

    def _measure(self) -> None:
        self._timer = None
        self._begun_ns = monotonic_ns()
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            pid = os.posix_spawnp(
                "du", ["du", "-s", "-c", "-x", "-B1", "--", *self._places],
                {"PATH": os.defpath, "LC_ALL": "C"},
                file_actions=(
                    (os.POSIX_SPAWN_DUP2, writing, 1),
                    (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0),  # What is deleted meanwhile it says.
                ),
                setsid=True,
                setsigmask=(),
            )  # fmt: skip
        except OSError:
            os.close(reading)
            self._timer = self._loop.call_later(PAUSE_NS, self._measure)
            return
        finally:
            os.close(writing)
        self._helpers.add(pid)
        self._fd, self._said = reading, b""
        self._loop.add(reading, select.EPOLLIN, self._on_ready)

    def _on_ready(self, _mask: int) -> None:
        try:
            data = os.read(self._fd, 4096)
        except BlockingIOError:
            return
        if data:
            self._said = (self._said + data)[-4096:]
            return
        self._close()
        lines = self._said.splitlines()
        total = lines[-1].split(b"\t")[0] if lines else b""
        if total.isdigit() and int(total) > self._limit:
            self._on_over()
        else:
            took_ns = monotonic_ns() - self._begun_ns
            self._timer = self._loop.call_later(max(PAUSE_NS, SHARE * took_ns), self._measure)

    def _close(self) -> None:
        if self._fd >= 0:
            self._loop.remove(self._fd)
            os.close(self._fd)
            self._fd = -1
