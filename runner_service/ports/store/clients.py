"""Programs that have an id and a secret, and the tokens that they refresh with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from runner_service.domain.credentials import Client, RefreshToken
from runner_service.domain.jobs import Micros


class ClientStore(Protocol):
    """Client credentials."""

    async def put(self, client: Client) -> None:
        """Stores a client, or replaces the one with this id."""
        ...

    async def get(self, client_id: str) -> Client:
        """Raises `ClientNotFound`."""
        ...

    async def list(self) -> Sequence[Client]:
        """All, in order of their ids: a lab has some dozens."""
        ...

    async def delete(self, client_id: str) -> None:
        """Raises `ClientNotFound`."""
        ...


class RefreshTokenStore(Protocol):
    """Refresh tokens, by the hash of what the client holds."""

    async def add(self, token: RefreshToken) -> None:
        """Stores a new token."""
        ...

    async def get(self, digest: bytes) -> RefreshToken | None:
        """The token, good or not; ``None`` when it is not known (any more)."""
        ...

    async def touch(self, digest: bytes, *, used_at: Micros) -> None:
        """Notes a use. Of a token that is gone, nothing."""
        ...

    async def revoke(self, digest: bytes, *, at: Micros) -> bool:
        """Revokes a token; false when it was revoked before, or is not known."""
        ...

    async def revoke_all(self, client_id: str, *, at: Micros) -> None:
        """Revokes every token of a client that is not revoked yet."""
        ...

    async def revoked(self, *, since: Micros) -> Sequence[bytes]:
        """The digests of tokens that were revoked since."""
        ...

    async def purge(self, *, expired_before: Micros, idle_since: Micros) -> int:
        """Deletes tokens that ended before, or were last used before, and returns how many."""
        ...
