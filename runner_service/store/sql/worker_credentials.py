"""Credentials of workers: each method hands one query function to the engine."""

from __future__ import annotations

from runner_service.domain.worker_credentials import CredentialsOfWorker, WorkerCredential
from runner_service.store import worker_credentials
from runner_service.store.engine import Engine


class SqlWorkerCredentials:
    """`WorkerCredentialStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def of(self, runner_id: str) -> CredentialsOfWorker:
        return await self._engine.read(worker_credentials.of_runner, runner_id)

    async def renew(
        self, runner_id: str, *, shown: bytes, digest: bytes, nonce: str, life_seconds: float, rejoins: bool = False
    ) -> WorkerCredential | None:
        return await self._engine.write(
            worker_credentials.renew, runner_id, shown, digest, nonce, life_seconds, rejoins
        )

    async def confirm(self, runner_id: str, number: int, *, overlap_seconds: float) -> None:
        await self._engine.write(worker_credentials.confirm, runner_id, number, overlap_seconds)
