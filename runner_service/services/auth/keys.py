"""API keys that the service makes: shown once, kept as hashes, revocable."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

from runner_service.domain.credentials import IssuedKey
from runner_service.domain.errors import CredentialUntold, InvalidArgument
from runner_service.domain.ids import new_id
from runner_service.domain.principals import Role
from runner_service.domain.requests import MAX_NAME
from runner_service.ports.clock import Clock
from runner_service.ports.store import ApiKeyStore, Mark
from runner_service.services.auth.authenticator import KEY_PREFIX, Auth
from runner_service.services.sealing import Sealer

MICROS = 1_000_000


class ApiKeys:
    """Makes, lists and revokes keys."""

    def __init__(self, *, store: ApiKeyStore, auth: Auth, clock: Clock, sealer: Sealer) -> None:
        self._store = store
        self._auth = auth
        self._clock = clock
        self._sealer = sealer

    async def create(
        self, *, name: str, role: Role, created_by: str, life_seconds: float | None = None, mark: Mark | None = None
    ) -> tuple[IssuedKey, str]:
        """Returns the key as kept, and the key itself, which is told again only for the same ``mark``.

        Raises:
            InvalidArgument: Names the field.
            CredentialUntold: It cannot be told again.
        """
        if not name or len(name) > MAX_NAME:
            raise InvalidArgument(field="name", problem=f"give 1 to {MAX_NAME} characters")
        if role is Role.NONE:
            raise InvalidArgument(field="role", problem="give viewer, operator, admin or worker")
        if life_seconds is not None and life_seconds <= 0:
            raise InvalidArgument(field="lifetime", problem="give a time longer than none")
        key_id, nonce = new_id(), secrets.token_urlsafe(32)
        key = self._key(key_id, nonce)
        expires_at = None if life_seconds is None else self._clock.now() + int(life_seconds * MICROS)
        issued = IssuedKey(
            key_id=key_id,
            name=name,
            role=role,
            digest=hashlib.sha256(key.encode()).digest(),
            created_by=created_by,
            expires_at=expires_at,
        )
        kept, nonce = await self._store.add(issued, mark=mark, note=nonce)
        key = self._key(kept.key_id, nonce)
        if hashlib.sha256(key.encode()).digest() != kept.digest:
            raise CredentialUntold(of=f"API key {kept.key_id}")
        return kept, key

    def _key(self, key_id: str, nonce: str) -> str:
        return f"{KEY_PREFIX}{key_id}_{self._sealer.derive(key_id, nonce)}"

    async def list(self, *, limit: int, after: str = "") -> Sequence[IssuedKey]:
        """The keys that were made here, oldest first, revoked ones too."""
        return await self._store.list(limit=limit, after=after)

    async def revoke(self, key_id: str) -> IssuedKey:
        """Makes the key good for nothing: here at once, on other servers of the same store within
        `authenticator.CACHE_SECONDS`. Repeated, it changes nothing. Raises `ApiKeyNotFound`."""
        revoked = await self._store.revoke(key_id)
        self._auth.forget(revoked.digest)
        return revoked
