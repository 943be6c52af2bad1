"""What is done again and again for as long as the server runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)


async def sweep_for_ever(what: str, sweep: Callable[[], Awaitable[object]], *, seconds: float) -> None:
    """Calls ``sweep`` every so many seconds; what fails is logged as ``what`` and tried again."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await sweep()
        except Exception:
            log.exception("cannot sweep %s, trying again", what, extra={"action": "sweep_failed", "what": what})
