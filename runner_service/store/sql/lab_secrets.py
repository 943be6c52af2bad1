"""Secrets of clients of labs: each method hands one query function to the engine."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from runner_service.domain.jobs import Micros
from runner_service.domain.lab_secrets import LabSecret, SecretPlace
from runner_service.store import lab_secrets
from runner_service.store.engine import Engine


class SqlLabSecrets:
    """`LabSecretStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def put(self, secret: LabSecret) -> None:
        await self._engine.write(lab_secrets.put, secret)

    async def accessible(self, places: Collection[SecretPlace]) -> Collection[SecretPlace]:
        return await self._engine.read(lab_secrets.accessible, places)

    async def take(self, places: Collection[SecretPlace], *, job_id: str) -> Mapping[SecretPlace, bytes]:
        return await self._engine.write(lab_secrets.take, places, job_id)

    async def delete(self, place: SecretPlace) -> None:
        await self._engine.write(lab_secrets.drop, place)

    async def expire(self, *, taken_before: Micros) -> int:
        return await self._engine.write(lab_secrets.expire, taken_before)
