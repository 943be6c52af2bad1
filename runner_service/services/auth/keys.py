"""API keys that the service makes: shown once, kept as hashes, revocable."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

from runner_service.domain.credentials import IssuedKey
from runner_service.domain.errors import InvalidArgument
from runner_service.domain.ids import new_id
from runner_service.domain.principals import Role
from runner_service.domain.requests import MAX_NAME
from runner_service.ports.clock import Clock
from runner_service.ports.store import ApiKeyStore
from runner_service.services.auth.authenticator import KEY_PREFIX, Auth

MICROS = 1_000_000


class ApiKeys:
    """Makes, lists and revokes keys."""

    def __init__(self, *, store: ApiKeyStore, auth: Auth, clock: Clock) -> None:
        self._store = store
        self._auth = auth
        self._clock = clock

    async def create(
        self, *, name: str, role: Role, created_by: str, life_seconds: float | None = None
    ) -> tuple[IssuedKey, str]:
        """Returns the key as kept, and the key itself, which is shown this once.

        Raises:
            InvalidArgument: Names the field.
        """
        if not name or len(name) > MAX_NAME:
            raise InvalidArgument(field="name", problem=f"give 1 to {MAX_NAME} characters")
        if role is Role.NONE:
            raise InvalidArgument(field="role", problem="give viewer, operator, admin or worker")
        if life_seconds is not None and life_seconds <= 0:
            raise InvalidArgument(field="lifetime", problem="give a time longer than none")
        key_id = new_id()
        key = f"{KEY_PREFIX}{key_id}_{secrets.token_urlsafe(32)}"
        expires_at = None if life_seconds is None else self._clock.now() + int(life_seconds * MICROS)
        issued = IssuedKey(
            key_id=key_id,
            name=name,
            role=role,
            digest=hashlib.sha256(key.encode()).digest(),
            created_by=created_by,
            expires_at=expires_at,
        )
        return await self._store.add(issued), key

    async def list(self, *, limit: int, after: str = "") -> Sequence[IssuedKey]:
        """The keys that were made here, oldest first, revoked ones too."""
        return await self._store.list(limit=limit, after=after)

    async def revoke(self, key_id: str) -> IssuedKey:
        """Makes the key good for nothing: here at once, on other servers of the same store within
        `authenticator.CACHE_SECONDS`. Repeated, it changes nothing. Raises `ApiKeyNotFound`."""
        revoked = await self._store.revoke(key_id)
        self._auth.forget(revoked.digest)
        return revoked
