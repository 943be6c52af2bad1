"""Whether a database elsewhere answers: said once when it does no more, and once when it does again."""

from __future__ import annotations

import logging
import threading
import time

log = logging.getLogger(__name__)

SAID_SECONDS = 60.0
"""Between two outages that are said: with too few connections calls fail and succeed in turn."""


class Reach:
    """Told by the threads of a store how their calls fare."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: float | None = None
        self._said = -SAID_SECONDS
        self._telling = False

    @property
    def away(self) -> bool:
        return self._since is not None

    def lost(self, reason: BaseException) -> None:
        """A call could not reach the database, however often it tried."""
        with self._lock:
            now = time.monotonic()
            if self._since is not None:
                return
            self._since = now
            if now - self._said < SAID_SECONDS:
                return
            self._said, self._telling = now, True
        lines = str(reason).strip().splitlines() or [type(reason).__name__]
        log.error("The database cannot be reached, trying on: %s", lines[0], extra={"action": "store_away"})

    def found(self) -> None:
        """A call was carried out."""
        with self._lock:
            if self._since is None:
                return
            seconds, telling = round(time.monotonic() - self._since, 1), self._telling
            self._since, self._telling = None, False
        if telling:
            log.warning(
                "The database answers again after %s seconds.",
                seconds,
                extra={"action": "store_back", "seconds": seconds},
            )
