"""Waiting for what has no event: state outside of the test's process, looked at until a deadline."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Found = TypeVar("Found")


async def until(
    look: Callable[[], Found | Awaitable[Found]], *, seconds: float = 60.0, what: str = "what the test waits for"
) -> Found:
    """Looks until the answer is true, and returns it; fails with ``what`` at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found  # type: ignore[return-value]
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {seconds:g} s")
        await asyncio.sleep(0.02)
