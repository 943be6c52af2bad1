"""Artifacts: each method hands one query function to the engine."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from runner_service.domain.artifacts import Artifact, ArtifactPart
from runner_service.ports.store import Mark
from runner_service.store import artifacts
from runner_service.store.engine import Engine


class SqlArtifacts:
    """`ArtifactStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def begin(self, artifact: Artifact, *, request_id: str) -> Artifact:
        return await self._engine.write(artifacts.begin, artifact, request_id)

    async def by_request(self, created_by: str, request_id: str) -> Artifact:
        return await self._engine.read(artifacts.by_request, created_by, request_id)

    async def add_part(self, artifact_id: str, part: ArtifactPart) -> Artifact:
        return await self._engine.write(artifacts.add_part, artifact_id, part)

    async def finish(self, artifact_id: str, sha256: str) -> Artifact:
        return await self._engine.write(artifacts.finish, artifact_id, sha256)

    async def get(self, artifact_id: str) -> Artifact:
        return await self._engine.read(artifacts.get, artifact_id)

    async def parts(self, artifact_id: str) -> Sequence[ArtifactPart]:
        return await self._engine.read(artifacts.parts, artifact_id)

    async def ready(self, artifact_ids: Collection[str]) -> Collection[str]:
        return await self._engine.read(artifacts.ready, artifact_ids)

    async def list(self, *, job_id: str | None, after: str, limit: int) -> Sequence[Artifact]:
        return await self._engine.read(artifacts.page, job_id, after, limit)

    async def delete(self, artifact_id: str, *, mark: Mark | None = None) -> Sequence[str]:
        return await self._engine.write(artifacts.drop, artifact_id, mark)

    async def expire(self, *, seconds: float, upload_seconds: float, limit: int) -> tuple[int, Sequence[str]]:
        return await self._engine.write(artifacts.expire, seconds, upload_seconds, limit)
