"""The audit: written behind the calls, so that none waits for it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence

from runner_service.domain.audit import AuditEntry
from runner_service.ports.clock import Clock
from runner_service.ports.store import AuditStore
from runner_service.services.sweeping import sweep_for_ever

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.2
"""How long an entry waits for others to be written with."""
MOST_WAITING = 50_000
"""Entries that wait while the store takes none; beyond it the oldest are dropped, and it is said how many."""
AT_ONCE = 1_000


class Audit:
    """Notes entries, writes and reads them, and lets old ones go."""

    def __init__(self, *, store: AuditStore, clock: Clock, keep_seconds: float, sweep_seconds: float) -> None:
        self._store = store
        self._clock = clock
        self._keep_seconds = keep_seconds
        self._sweep_seconds = sweep_seconds
        self._waiting: deque[AuditEntry] = deque()
        self._noted = asyncio.Event()
        self._dropped = 0
        self._one_flush = asyncio.Lock()

    def note(
        self, *, principal: str, role: str, peer: str, method: str, target: str, status: str, request_id: str
    ) -> None:
        """Notes a call that has ended now. It is durable within `FLUSH_SECONDS` and a commit."""
        self._waiting.append(
            AuditEntry(
                at=self._clock.now(),
                principal=principal,
                role=role,
                peer=peer,
                method=method,
                target=target,
                status=status,
                request_id=request_id,
            )
        )
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self._dropped += 1
        self._noted.set()

    async def list(self, *, limit: int, before: int = 0, principal: str = "") -> Sequence[AuditEntry]:
        """Newest first, with everything that was noted until now."""
        await self.flush()
        return await self._store.list(limit=limit, before=before, principal=principal)

    async def run(self) -> None:
        """Writes and sweeps for ever; writes what is left when it is cancelled."""
        sweeping = asyncio.create_task(sweep_for_ever("the audit", self.sweep, seconds=self._sweep_seconds))
        try:
            while True:
                await self._noted.wait()
                await asyncio.sleep(FLUSH_SECONDS)
                await self.try_flush()
        finally:
            sweeping.cancel()
            await self.try_flush()

    async def try_flush(self) -> None:
        """`flush`, whose failure is logged: the entries wait for the next time."""
        try:
            await self.flush()
        except Exception:
            log.exception("cannot write the audit, trying again", extra={"action": "audit_failed"})

    async def flush(self) -> None:
        """Writes what waits; what was noted before is in the store when it returns."""
        async with self._one_flush:
            await self._flush()

    async def _flush(self) -> None:
        self._noted.clear()
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            try:
                await self._store.append(batch)
            except Exception:  # not a cancelled wait: the store writes what it was given all the same
                self._waiting.extendleft(reversed(batch))
                self._noted.set()
                raise
        if self._dropped:
            log.error("%d entries of the audit were lost", self._dropped, extra={"action": "audit_lost"})
            self._dropped = 0

    async def sweep(self) -> None:
        """Deletes what is over its time."""
        before = self._clock.now() - int(self._keep_seconds * 1_000_000)
        while await self._store.purge(before=before, limit=AT_ONCE) == AT_ONCE:
            pass
