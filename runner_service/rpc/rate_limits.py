"""Rate limits: fixed windows of a minute, each from the first request of its bucket, counted by the `limits` library.

Counts are kept in this process: several servers on one store each allow the whole of a limit.
"""

from __future__ import annotations

import functools
import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from runner_service.domain.errors import RateLimited
from runner_service.ports.clock import Clock

if TYPE_CHECKING:
    from limits.strategies import FixedWindowRateLimiter

WINDOW_SECONDS = 60
MOST_BUCKETS = 10_000
"""Of each class; beyond it the oldest window is forgotten."""
_MICROS = 1_000_000


class By(Enum):
    """What a bucket is for."""

    ADDRESS = "address"
    """An address that calls."""
    RESOURCE = "resource"
    """What the call is about, as its path names it, be it there or not."""
    USER = "user"
    """Who calls: by the credential; without one, by the address."""


CLASSES: Mapping[str, By] = {
    "registration": By.ADDRESS,
    "status": By.RESOURCE,
    "submission": By.RESOURCE,
    "bulk": By.USER,
}
"""What ``MethodRules.rate_class`` may name. The section `rate_limits` of the settings has the numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a bucket stands after a request."""

    limit: int
    remaining: int
    reset_at: int
    """Unix seconds."""
    retry_after: int
    """Seconds until then, at least 1."""
    exceeded: bool

    def headers(self) -> list[tuple[str, str]]:
        """For every answer to the request."""
        return [
            ("x-ratelimit-limit", str(self.limit)),
            ("x-ratelimit-remaining", str(self.remaining)),
            ("x-ratelimit-reset", str(self.reset_at)),
        ]

    def error(self) -> RateLimited:
        """What a request over the limit is refused with."""
        return RateLimited(
            limit=self.limit,
            window_seconds=WINDOW_SECONDS,
            retry_after_seconds=self.retry_after,
            retry_after=self.retry_after,
        )


class RateLimits:
    """The buckets of all classes."""

    def __init__(self, per_minute: Mapping[str, int], *, clock: Clock, most_buckets: int = MOST_BUCKETS) -> None:
        """``per_minute`` by class; one that is 0 or not named is not limited."""
        self._per_minute = per_minute
        self._clock = clock
        self._most = most_buckets
        self._counters: dict[str, tuple[FixedWindowRateLimiter, Any]] = {}

    def limits(self, rate_class: str) -> bool:
        """Tells whether the class has a limit."""
        return self._per_minute.get(rate_class, 0) > 0

    def hit(self, rate_class: str, key: str) -> Standing:
        """Counts a request of a limited class in the bucket ``key``."""
        known = self._counters.get(rate_class)
        limiter, item = known or self._counters.setdefault(rate_class, self._counter(rate_class))
        allowed = limiter.hit(item, key)
        stats = limiter.get_window_stats(item, key)
        left = stats.reset_time - self._clock.now() / _MICROS
        return Standing(
            limit=item.amount,
            remaining=stats.remaining,
            reset_at=math.ceil(stats.reset_time),
            retry_after=max(1, math.ceil(left)),
            exceeded=not allowed,
        )

    def _counter(self, rate_class: str) -> tuple[FixedWindowRateLimiter, Any]:
        # Here, because it costs a tenth of a second and 10 MB, and many a server never meets a limited call.
        from limits import RateLimitItemPerMinute
        from limits.strategies import FixedWindowRateLimiter

        storage = _storage()(self._clock, self._most)
        return FixedWindowRateLimiter(storage), RateLimitItemPerMinute(self._per_minute[rate_class])


@functools.cache
def _storage() -> Any:
    from limits.storage import Storage

    class Windows(Storage):
        """The library's in-memory storage has a clock of its own and grows without bound; this has neither."""

        STORAGE_SCHEME = None
        base_exceptions = ()

        def __init__(self, clock: Clock, most: int) -> None:
            super().__init__()
            self._clock = clock
            self._most = most
            # In the order in which the windows began, which is that in which they end: all are of one length.
            self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()

        def incr(self, key: str, expiry: int, amount: int = 1) -> int:
            self._forget_over()
            until, count = self._windows.get(key, (self._now() + expiry, 0))
            self._windows[key] = (until, count + amount)
            if len(self._windows) > self._most:
                self._windows.popitem(last=False)
            return count + amount

        def get(self, key: str) -> int:
            self._forget_over()
            return self._windows.get(key, (0.0, 0))[1]

        def get_expiry(self, key: str) -> float:
            return self._windows.get(key, (self._now(), 0))[0]

        def check(self) -> bool:
            return True

        def reset(self) -> int:
            gone = len(self._windows)
            self._windows.clear()
            return gone

        def clear(self, key: str) -> None:
            self._windows.pop(key, None)

        def _now(self) -> float:
            return self._clock.now() / _MICROS

        def _forget_over(self) -> None:
            now = self._now()
            while self._windows and next(iter(self._windows.values()))[0] <= now:
                self._windows.popitem(last=False)

    return Windows
