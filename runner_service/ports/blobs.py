"""Large immutable objects: sealed logs, artifacts, images."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from runner_service.domain.jobs import Micros


class BlobNotFound(Exception):
    """There is no blob with that key."""


class Blobs(Protocol):
    """Stores byte objects under keys of the form ``kind/aa/name`` (letters, digits, ``-_./``; never ``..``).

    A blob is there whole or not at all, and never changes. All methods may be called concurrently.
    """

    async def put(self, key: str, data: AsyncIterator[bytes]) -> int:
        """Stores a blob and returns its size; replaces one of the same key. Durable when it returns. When ``data``
        raises, nothing is stored."""
        ...

    async def read(self, key: str, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; fewer only at the end.

        Raises:
            BlobNotFound: No such key.
        """
        ...

    def old(self, kind: str, *, before: Micros) -> AsyncIterator[Sequence[str]]:
        """Yields, some at a time, the keys that begin with ``kind`` and whose blobs were written before a time, by the
        clock of the place; of what is written or deleted meanwhile some may be among them."""
        ...

    async def delete(self, key: str) -> None:
        """Removes a blob; no error when there is none."""
        ...
