"""What is known of artifacts; their bytes are blobs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from runner_service.domain.artifacts import Artifact, ArtifactPart
from runner_service.ports.store.answers import Mark


class ArtifactStore(Protocol):
    """Artifacts and the parts that they consist of, in order."""

    async def begin(self, artifact: Artifact, *, request_id: str) -> Artifact:
        """Stores a new artifact, UPLOADING and empty, and stamps it; or returns the one that the same creator began
        with this request id. Without a request id it is always new."""
        ...

    async def by_request(self, created_by: str, request_id: str) -> Artifact:
        """Raises `RequestNotFound`."""
        ...

    async def add_part(self, artifact_id: str, part: ArtifactPart) -> Artifact:
        """Adds a part that begins where the artifact ends; any other is not added: the answer's ``size`` tells.

        Raises:
            ArtifactNotFound: It is gone.
        """
        ...

    async def finish(self, artifact_id: str, sha256: str) -> Artifact:
        """Makes it READY, for ever. Again, it changes nothing. Raises `ArtifactNotFound`."""
        ...

    async def get(self, artifact_id: str) -> Artifact:
        """Raises `ArtifactNotFound`."""
        ...

    async def parts(self, artifact_id: str) -> Sequence[ArtifactPart]:
        """In order; none when it is gone."""
        ...

    async def ready(self, artifact_ids: Collection[str]) -> Collection[str]:
        """Those that are READY."""
        ...

    async def list(self, *, job_id: str | None, after: str, limit: int) -> Sequence[Artifact]:
        """Those that are READY, by age, behind the one with the id ``after``."""
        ...

    async def delete(self, artifact_id: str, *, mark: Mark | None = None) -> Sequence[str]:
        """Deletes it and returns the keys of its blobs. Raises `ArtifactNotFound`."""
        ...

    async def expire(self, *, seconds: float, upload_seconds: float, limit: int) -> tuple[int, Sequence[str]]:
        """Deletes up to ``limit`` artifacts that are older, by the clock of the store, and of those that are UPLOADING
        also what was begun longer ago; says how many, and the keys of their blobs."""
        ...
