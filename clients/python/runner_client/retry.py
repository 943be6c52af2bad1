"""How long and how often a call is made again: full jitter, and patience that is counted from the first failure."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from runner_client.errors import ClientError

BASE_SECONDS = 0.1
CAP_SECONDS = 2.0
"""Pauses grow to this. A server that restarts is found again within it."""


@dataclass
class Retry:
    """The retries of one call or one stream.

    ``await pause(error)`` after each failure: it sleeps, or raises ``error`` when it cannot be retried or patience is
    over. ``progress()`` after each success of a stream.
    """

    patience: float
    """Seconds from the first failure after progress in which the call is made again."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    uniform: Callable[[float, float], float] = random.uniform
    _failures: int = field(default=0, init=False)
    _since: float = field(default=0.0, init=False)

    def progress(self) -> None:
        self._failures = 0

    async def pause(self, error: ClientError) -> None:
        now = self.clock()
        if self._failures == 0:
            self._since = now
        ceiling = min(CAP_SECONDS, BASE_SECONDS * 2**self._failures)
        self._failures = min(self._failures + 1, 30)
        delay = max(self.uniform(ceiling / 2, ceiling), error.retry_after or 0.0)
        if not error.retryable or now + delay > self._since + self.patience:
            raise error
        await self.sleep(delay)
