"""What runners measure of jobs while they run, kept where somebody looks for it."""

from __future__ import annotations

import asyncio
import logging

from runner_service.domain.dispatch import Beat
from runner_service.ports.signals import EVENTS, Signals
from runner_service.ports.store import AgentStore

log = logging.getLogger(__name__)

LEAST_CHANGE_BYTES = 1 << 20
"""Smaller changes of an agent's memory are not worth a write."""
_REMEMBERED = 10_000


class Gauges:
    """Keeps the memory of agents. Other jobs' figures come with their outcome."""

    def __init__(self, *, agents: AgentStore, signals: Signals) -> None:
        self._agents = agents
        self._signals = signals
        self._stored: dict[str, int] = {}
        self._writing: set[asyncio.Task[None]] = set()

    def take(self, beat: Beat) -> None:
        """Takes what a Sync brings. Does not wait for the store: a figure that gets lost is measured again."""
        for listed in beat.listed:
            size, stored = listed.memory_bytes, self._stored.get(listed.attempt_id, 0)
            if not size or abs(size - stored) < LEAST_CHANGE_BYTES:
                continue
            if len(self._stored) >= _REMEMBERED:
                self._stored.clear()
            self._stored[listed.attempt_id] = size
            task = asyncio.create_task(self._write(listed.attempt_id, size))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    async def _write(self, attempt_id: str, size: int) -> None:
        try:
            await self._agents.measure(attempt_id, size)
        except Exception:
            self._stored.pop(attempt_id, None)
            log.warning(
                "cannot keep the memory of attempt %s", attempt_id, exc_info=True, extra={"action": "measure_failed"}
            )
        else:
            self._signals.publish((EVENTS,))
