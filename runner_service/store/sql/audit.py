"""The audit: each method hands one query function to the engine."""

from __future__ import annotations

from collections.abc import Sequence

from runner_service.domain.audit import AuditEntry
from runner_service.domain.jobs import Micros
from runner_service.store import audit
from runner_service.store.engine import Engine


class SqlAudit:
    """`AuditStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        await self._engine.write(audit.append, entries)

    async def list(self, *, limit: int, before: int = 0, principal: str = "") -> Sequence[AuditEntry]:
        return await self._engine.read(audit.list_entries, limit, before, principal)

    async def purge(self, *, before: Micros, limit: int) -> int:
        return await self._engine.write(audit.purge, before, limit)
