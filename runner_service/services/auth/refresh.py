"""Refresh tokens: opaque, kept as hashes, good for a while and not for ever."""

from __future__ import annotations

import hashlib
import secrets

from runner_service.domain.credentials import RefreshToken
from runner_service.domain.errors import RefreshTokenExpired, RefreshTokenRevoked, RefreshTokenUnknown
from runner_service.ports.clock import Clock
from runner_service.ports.store import RefreshTokenStore

RANDOM_BYTES = 36
"""48 characters of base64."""
LIFE_SECONDS = 6 * 86_400
IDLE_SECONDS = 90 * 86_400
MICROS = 1_000_000


class RefreshTokens:
    """Issues, uses and revokes them. They are not rotated: the clients of today keep theirs in a file."""

    def __init__(
        self,
        *,
        store: RefreshTokenStore,
        clock: Clock,
        life_seconds: float = LIFE_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._store = store
        self._clock = clock
        self._life = int(life_seconds * MICROS)
        self._idle = int(idle_seconds * MICROS)
        self._revoked: frozenset[str] = frozenset()

    async def issue(self, client_id: str) -> str:
        """Returns a new token of 48 characters; the store keeps its hash."""
        token = secrets.token_urlsafe(RANDOM_BYTES)
        now = self._clock.now()
        await self._store.add(
            RefreshToken(
                digest=_digest(token), client_id=client_id, issued_at=now, used_at=now, expires_at=now + self._life
            )
        )
        return token

    async def use(self, token: str) -> str:
        """Returns whose token it is, and notes the use.

        Raises:
            RefreshTokenUnknown, RefreshTokenRevoked, RefreshTokenExpired: It is good for nothing (any more).
        """
        found = await self._store.get(_digest(token))
        now = self._clock.now()
        if found is None:
            raise RefreshTokenUnknown()
        if found.revoked_at is not None:
            raise RefreshTokenRevoked()
        if now >= found.expires_at or now - found.used_at >= self._idle:
            raise RefreshTokenExpired()
        await self._store.touch(found.digest, used_at=now)
        return found.client_id

    async def revoke(self, token: str) -> None:
        """Makes the token good for nothing, at once, and the access tokens that were got for it.

        Raises:
            RefreshTokenUnknown, RefreshTokenRevoked: It was not good before.
        """
        found = await self._store.get(_digest(token))
        if found is None:
            raise RefreshTokenUnknown()
        if found.revoked_at is not None or not await self._store.revoke(found.digest, at=self._clock.now()):
            raise RefreshTokenRevoked()
        await self.load()

    async def revoke_all(self, client_id: str) -> None:
        """Of a client that is deleted, or has a new secret."""
        await self._store.revoke_all(client_id, at=self._clock.now())
        await self.load()

    async def load(self) -> None:
        """Takes over what was revoked, here or by another server of the same store."""
        since = self._clock.now() - self._life
        self._revoked = frozenset(session_of_digest(digest) for digest in await self._store.revoked(since=since))

    def is_revoked(self, session: str) -> bool:
        """Tells whether the refresh token with which an access token was got is revoked."""
        return session in self._revoked

    async def sweep(self) -> None:
        """Deletes what has been useless for the life of a token."""
        now = self._clock.now()
        await self._store.purge(expired_before=now - self._life, idle_since=now - self._idle)


def session_of_digest(digest: bytes) -> str:
    """What access tokens say of the refresh token that they were got with."""
    return digest[:16].hex()


def session_of(token: str) -> str:
    """See `session_of_digest`."""
    return session_of_digest(_digest(token))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
