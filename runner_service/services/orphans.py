"""Deletes blobs that belong to nothing: what a crash leaves between a blob and the row that names it.

A blob is written before its row, and deleted after it. So a crash between, or a place of blobs that is away when it is
to delete, leaves what nobody asks for any more. It is told from an upload in progress by its age: the transaction that
names a blob refuses one that is older than `NAMED_SECONDS`, and here they are twice as old at least. Both count by
the clock of the store: that of a server may be days off.
"""

from __future__ import annotations

import asyncio
import logging

from runner_service.domain.blobs import KINDS, ORPHAN_SECONDS
from runner_service.ports.blobs import Blobs
from runner_service.ports.store import BlobOwners

log = logging.getLogger(__name__)

SWEEP_SECONDS = 6 * 3600.0
"""Between looks at everything there is, which may be a long list."""


class Orphans:
    """Compares the place of blobs with the rows. Several servers may do so at the same time."""

    def __init__(self, *, owners: BlobOwners, blobs: Blobs, first_seconds: float) -> None:
        """``first_seconds``: how long after its start a server looks for the first time."""
        self._owners = owners
        self._blobs = blobs
        self._first_seconds = first_seconds

    async def run(self) -> None:
        """Sweeps for ever; what fails is logged and tried again."""
        await asyncio.sleep(self._first_seconds)
        while True:
            try:
                await self.sweep()
            except Exception:
                log.exception("cannot look for orphaned blobs, trying again", extra={"action": "orphans_failed"})
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self) -> int:
        """Deletes what belongs to nothing, and returns how many blobs that were."""
        before, count = await self._owners.now() - round(ORPHAN_SECONDS * 1e6), 0
        for kind in KINDS:
            async for keys in self._blobs.old(kind, before=before):
                owned = set(await self._owners.owned(keys)) if keys else set()
                for key in keys:
                    if key not in owned:
                        await self._blobs.delete(key)
                        count += 1
        if count:
            log.info("deleted %d blobs that belonged to nothing", count, extra={"action": "orphans_deleted"})
        return count
