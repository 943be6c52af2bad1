"""Secrets, sealed: each method hands one query function to the engine."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from runner_service.domain.secrets import Secret
from runner_service.ports.store import Mark
from runner_service.store import secrets
from runner_service.store.engine import Engine


class SqlSecrets:
    """`SecretStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def put(self, name: str, sealed: bytes, *, by: str, mark: Mark | None = None) -> Secret:
        return await self._engine.write(secrets.put, name, sealed, by, mark)

    async def get(self, names: Collection[str]) -> Mapping[str, bytes]:
        return await self._engine.read(secrets.get, names)

    async def list(self) -> Sequence[Secret]:
        return await self._engine.read(secrets.list_secrets)

    async def delete(self, name: str, *, mark: Mark | None = None) -> None:
        await self._engine.write(secrets.drop, name, mark)
