"""The idle budget of an attempt: it may write nothing for so long. One that waits for the spool is not silent, and who
stood still meanwhile does not matter."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns

from runner_service.worker.supervisor.loop import SECOND, Loop, Timer


class Silence:
    """Says once that nothing was heard for too long; while that is excused the time begins anew."""

    __slots__ = ("_excused", "_heard_ns", "_held_up", "_loop", "_most_ns", "_on_silent", "_timer")

    def __init__(
        self, loop: Loop, seconds: float, excused: Callable[[], bool], on_silent: Callable[[], None]
    ) -> None:  # fmt: skip
        """``seconds``: 0 for no such budget."""
        self._loop = loop
        self._most_ns = int(seconds * SECOND)
        self._excused = excused
        self._on_silent = on_silent
        self._heard_ns = 0
        self._held_up = False
        self._timer: Timer | None = None

    def begin(self) -> None:
        self.heard()
        if self._most_ns:
            self._look()

    def heard(self) -> None:
        self._heard_ns = monotonic_ns()
        self._held_up = False

    def hold_up(self) -> None:
        """It has something to say, which nobody takes until it is heard again."""
        self._held_up = True

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        if self._held_up or self._excused():
            self._heard_ns = monotonic_ns()
        due = self._heard_ns + self._most_ns
        if monotonic_ns() >= due:
            self._on_silent()
        else:
            self._timer = self._loop.call_at(due, self._look)
