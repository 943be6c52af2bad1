"""Owners of blobs: one query function for the engine."""

from __future__ import annotations

from collections.abc import Collection

from runner_service.domain.jobs import Micros
from runner_service.store import blobs
from runner_service.store.engine import Engine


class SqlBlobOwners:
    """`BlobOwners`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def owned(self, keys: Collection[str]) -> Collection[str]:
        return await self._engine.read(blobs.owned, keys)

    async def now(self) -> Micros:
        return await self._engine.read(blobs.now)
