"""API keys that the service made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from runner_service.domain.credentials import IssuedKey
from runner_service.ports.store.answers import Mark


class ApiKeyStore(Protocol):
    """API keys that the service made."""

    async def add(self, key: IssuedKey, *, mark: Mark | None = None, note: str = "") -> tuple[IssuedKey, str]:
        """Stores a new key and returns it with the note; stamps ``created_at``. Of a mark that is known, the key as it
        is and the note of then."""
        ...

    async def get(self, key_id: str) -> IssuedKey:
        """The key, good or not. Raises `ApiKeyNotFound`."""
        ...

    async def list(self, *, limit: int, after: str = "") -> Sequence[IssuedKey]:
        """In order of their ids, which is that of their making. ``after``: the last id of the page before."""
        ...

    async def revoke(self, key_id: str) -> IssuedKey:
        """Stamps ``revoked_at`` unless it is there. Raises `ApiKeyNotFound`."""
        ...
