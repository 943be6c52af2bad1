"""Which blobs belong to something."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from runner_service.domain.jobs import Micros


class BlobOwners(Protocol):
    """What the rows of all nouns say of blobs."""

    async def owned(self, keys: Collection[str]) -> Collection[str]:
        """Those of ``keys`` that a row names, or that are the log of an attempt that is there: it may be about to be
        named. Whatever is not among them, and older than `domain.blobs.ORPHAN_SECONDS`, never will be."""
        ...

    async def now(self) -> Micros:
        """The time by the clock of the store, which all servers share: by it a blob is too old to be named, too."""
        ...
