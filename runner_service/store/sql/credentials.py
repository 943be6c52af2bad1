"""API keys, clients and refresh tokens: each method hands one query function to the engine."""

from __future__ import annotations

from collections.abc import Sequence

from runner_service.domain.credentials import Client, IssuedKey, RefreshToken
from runner_service.domain.jobs import Micros
from runner_service.ports.store import Mark
from runner_service.store import credentials
from runner_service.store.engine import Engine


class SqlApiKeys:
    """`ApiKeyStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def add(self, key: IssuedKey, *, mark: Mark | None = None, note: str = "") -> tuple[IssuedKey, str]:
        return await self._engine.write(credentials.add_key, key, mark, note)

    async def get(self, key_id: str) -> IssuedKey:
        return await self._engine.read(credentials.get_key, key_id)

    async def list(self, *, limit: int, after: str = "") -> Sequence[IssuedKey]:
        return await self._engine.read(credentials.list_keys, limit, after)

    async def revoke(self, key_id: str) -> IssuedKey:
        return await self._engine.write(credentials.revoke_key, key_id)


class SqlClients:
    """`ClientStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def put(self, client: Client) -> None:
        await self._engine.write(credentials.put_client, client)

    async def get(self, client_id: str) -> Client:
        return await self._engine.read(credentials.get_client, client_id)

    async def list(self) -> Sequence[Client]:
        return await self._engine.read(credentials.list_clients)

    async def delete(self, client_id: str) -> None:
        await self._engine.write(credentials.delete_client, client_id)


class SqlRefreshTokens:
    """`RefreshTokenStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def add(self, token: RefreshToken) -> None:
        await self._engine.write(credentials.add_token, token)

    async def get(self, digest: bytes) -> RefreshToken | None:
        return await self._engine.read(credentials.get_token, digest)

    async def touch(self, digest: bytes, *, used_at: Micros) -> None:
        await self._engine.write(credentials.touch_token, digest, used_at)

    async def revoke(self, digest: bytes, *, at: Micros) -> bool:
        return await self._engine.write(credentials.revoke_token, digest, at)

    async def revoke_all(self, client_id: str, *, at: Micros) -> None:
        await self._engine.write(credentials.revoke_tokens, client_id, at)

    async def revoked(self, *, since: Micros) -> Sequence[bytes]:
        return await self._engine.read(credentials.revoked_tokens, since)

    async def purge(self, *, expired_before: Micros, idle_since: Micros) -> int:
        return await self._engine.write(credentials.purge_tokens, expired_before, idle_since)
