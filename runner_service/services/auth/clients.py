"""Client credentials: programs with an id and a secret, and the access tokens that they get for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runner_service.domain.credentials import Client
from runner_service.domain.errors import ClientInvalid, ClientNotFound, TokenClaimMissing, TokenExpired
from runner_service.ports.store import ClientStore
from runner_service.services.auth.passwords import Passwords, is_hash
from runner_service.services.auth.refresh import RefreshTokens, session_of
from runner_service.services.auth.tokens import Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """What a client calls with."""

    token: str
    expires_in: int
    """Seconds."""


class Clients:
    """Lets clients in, and keeps them."""

    def __init__(
        self, *, store: ClientStore, passwords: Passwords, tokens: Tokens, refresh_tokens: RefreshTokens
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._tokens = tokens
        self._refresh = refresh_tokens

    async def seed(self, clients: Iterable[Client]) -> None:
        """Stores the clients of the settings (``secret_hash``: the secret in plain, or its hash). One whose secret is
        the stored one keeps its hash. A client that left the settings stays, and can be deleted by a call then."""
        named = {client.client_id: client for client in clients}
        for known in await self._store.list():
            if known.built_in and known.client_id not in named:
                await self._store.put(replace(known, built_in=False))
        for client in named.values():
            known_hash = await self._hash_of(client.client_id)
            hashed = client.secret_hash
            if not is_hash(hashed):
                same = known_hash is not None and await self._passwords.verify(hashed, known_hash)
                hashed = known_hash if same and known_hash else await self._passwords.hash(hashed)
            await self._store.put(replace(client, secret_hash=hashed, built_in=True))

    async def authenticate(self, client_id: str, secret: str) -> Client:
        """Returns the client with this id and secret. Raises `ClientInvalid`."""
        try:
            client = await self._store.get(client_id)
        except ClientNotFound:
            client = None
        if not await self._passwords.verify(secret, client.secret_hash if client else None) or client is None:
            raise ClientInvalid()
        return client

    def access(self, client: Client, *, refresh_token: str = "") -> AccessToken:
        """Returns an access token that says what the client may do. It is good no longer than its refresh token."""
        permissions: dict[str, Any] = {
            "client_id": client.client_id,
            "role": client.role,
            "max_priority": dict(client.max_priority),
            "allowed_queues": list(client.allowed_queues),
            "max_reservation_time": dict(client.max_reservation_time),
        }
        if client.email:
            permissions["email"] = client.email
        session = {"sid": session_of(refresh_token)} if refresh_token else {}
        issued = self._tokens.issue({"permissions": permissions, **session})
        return AccessToken(token=issued.token, expires_in=self._tokens.life_seconds)

    def permissions(self, token: str) -> Mapping[str, Any]:
        """Returns the permissions that an access token says. Raises a `TokenRefused`."""
        claims = self._tokens.read(token)
        if self._refresh.is_revoked(str(claims.get("sid", ""))):
            # Its holder is to ask for a new one, and is told the truth there.
            raise TokenExpired()
        permissions = claims.get("permissions")
        if not isinstance(permissions, dict):
            raise TokenClaimMissing(claim="permissions")
        return permissions

    async def refresh(self, refresh_token: str) -> AccessToken:
        """Returns a new access token, with what the client may do by now.

        Raises:
            RefreshTokenUnknown, RefreshTokenRevoked, RefreshTokenExpired: The token is good for nothing.
        """
        client = await self._store.get(await self._refresh.use(refresh_token))
        return self.access(client, refresh_token=refresh_token)

    async def get(self, client_id: str) -> Client:
        """Raises `ClientNotFound`."""
        return await self._store.get(client_id)

    async def list(self) -> Sequence[Client]:
        """All, in order of their ids."""
        return await self._store.list()

    async def save(self, client: Client, *, secret: str | None = None) -> Client:
        """Stores a client; with a new secret, the refresh tokens that it got for the old one are revoked."""
        if secret is not None:
            client = replace(client, secret_hash=await self._passwords.hash(secret))
            await self._refresh.revoke_all(client.client_id)
        await self._store.put(client)
        return client

    async def delete(self, client_id: str) -> None:
        """Raises `ClientNotFound`."""
        await self._store.delete(client_id)
        await self._refresh.revoke_all(client_id)

    async def _hash_of(self, client_id: str) -> str | None:
        try:
            return (await self._store.get(client_id)).secret_hash
        except ClientNotFound:
            return None
