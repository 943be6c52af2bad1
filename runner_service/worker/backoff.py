"""Pauses between tries: full jitter, so that many workers do not come back as one."""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """Counts failures in a row and says how long to wait after each.

    The n-th pause is drawn evenly from zero to ``first * 2**(n-1)``, at most ``most`` seconds: short at first, so that
    a server that starts again is met in well under a second.
    """

    def __init__(self, *, first: float, most: float, random: Callable[[], float]) -> None:
        self._first = first
        self._most = most
        self._random = random
        self.failures = 0

    def next(self) -> float:
        """Counts a failure; returns the seconds to wait."""
        self.failures += 1
        return self._random() * min(self._most, self._first * 2.0 ** min(self.failures - 1, 30))

    def reset(self) -> None:
        """It went well."""
        self.failures = 0
