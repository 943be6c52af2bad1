"""Who changed what, when and from where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from runner_service.domain.audit import AuditEntry
from runner_service.domain.jobs import Micros


class AuditStore(Protocol):
    """The audit."""

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        """Stores entries in their order, and numbers them."""
        ...

    async def list(self, *, limit: int, before: int = 0, principal: str = "") -> Sequence[AuditEntry]:
        """Newest first. ``before``: a number from which the page goes back; 0: from the newest. ``principal``: only
        of this one."""
        ...

    async def purge(self, *, before: Micros, limit: int) -> int:
        """Deletes up to ``limit`` entries from before a time, oldest first, and returns how many."""
        ...
