"""Which blobs belong to something."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class BlobOwners(Protocol):
    """What the rows of all nouns say of blobs."""

    async def owned(self, keys: Collection[str]) -> Collection[str]:
        """Those of ``keys`` that a row names, or that are the log of an attempt that is there: it may be about to be
        named. Whatever is not among them, and older than `domain.blobs.ORPHAN_SECONDS`, never will be."""
        ...
