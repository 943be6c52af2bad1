"""When the log of a running attempt goes out."""

from __future__ import annotations

from runner_service.worker.times import INLINE_LOG_BYTES, WorkerTimes

_NEVER = float("-inf")


class FlushPolicy:
    """Decides from the times of output, of flushes, and from whether somebody follows.

    * 64 KiB unsent go out at once;
    * so does output after silence: 20 ms when somebody follows, 200 ms when nobody does;
    * anything else 20 ms after the flush before when somebody follows, 1 s when nobody does.

    Times are seconds of one clock that the caller reads.
    """

    __slots__ = ("_at_once", "_flushed", "_grown", "_times", "followed")

    def __init__(self, times: WorkerTimes) -> None:
        self._times = times
        self._grown = _NEVER
        self._flushed = _NEVER
        self._at_once = False
        self.followed = False

    def grew(self, now: float) -> None:
        """There is new output."""
        silence = self._times.interval_followed if self.followed else self._times.silence_unfollowed
        if now - self._grown >= silence:
            self._at_once = True
        self._grown = now

    def flushed(self, now: float) -> None:
        self._flushed = now
        self._at_once = False

    def follow(self, followed: bool) -> bool:
        """Takes note of whether somebody follows; True when somebody has just begun."""
        begun = followed and not self.followed
        self.followed = followed
        if begun:
            self._at_once = True
        return begun

    def due(self, unsent: int) -> float:
        """From when on ``unsent`` bytes of journal, at least one, should go out."""
        if self._at_once or unsent >= INLINE_LOG_BYTES:
            return _NEVER
        return self._flushed + (self._times.interval_followed if self.followed else self._times.interval_unfollowed)
