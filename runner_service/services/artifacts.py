"""Use cases of artifacts: upload in parts that stay, download from any byte, let go.

A part is a blob, and counts once its row is committed; so an upload that is cut, by whomever, goes on behind its last
part. What is uploaded under one request id by two at the same time is kept once: a part that does not join is dropped.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, replace

from runner_service.domain.artifacts import MEDIA_TYPE, Artifact, ArtifactPart, ArtifactState, check_path
from runner_service.domain.blobs import new_key
from runner_service.domain.errors import (
    ArtifactCorrupt,
    ArtifactNotFound,
    AttemptNotFound,
    InvalidArgument,
    RangeOutside,
    StaleAttempt,
    UploadCut,
    UploadLate,
    UploadTooLarge,
)
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import AttemptState
from runner_service.domain.requests import MAX_NAME
from runner_service.ports.blobs import BlobNotFound, Blobs
from runner_service.ports.store import ArtifactStore, JobStore, Mark

PART_BYTES = 4 * 1024 * 1024
"""Held in memory of each upload; what is uploaded since the last part is lost by a cut."""
READ_BYTES = 256 * 1024
UPLOAD_SECONDS = 24 * 3600.0
"""An upload that has not ended after so long is given up."""
AT_ONCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUpload:
    """What is to be uploaded."""

    name: str
    media_type: str = ""
    sha256: str = ""
    """Announced; empty: not checked."""
    request_id: str = ""
    offset: int = 0
    """Where the data that comes begins."""
    by: str = ""
    artifact_id: str = ""
    """Made before the upload, for who has to name it first; empty: a new one."""


class Artifacts:
    """Artifacts of callers and of jobs."""

    def __init__(
        self, *, store: ArtifactStore, jobs: JobStore, blobs: Blobs, max_bytes: int, keep_seconds: float
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._blobs = blobs
        self._max_bytes = max_bytes
        self._keep_seconds = keep_seconds

    async def upload(self, upload: NewUpload, data: AsyncIterator[bytes]) -> Artifact:
        """Keeps a file, and returns it once all of it is kept.

        Raises:
            InvalidArgument: The name is no relative path, or the offset lies behind what is kept.
            UploadTooLarge: It is more than the service takes; what came is deleted.
            ArtifactCorrupt: It is not what was announced; what came is deleted.
            UploadCut: Raised by ``data`` at its end, and what came is not what was announced; it is kept.
            StorageFull: There is no room; what came is kept for when there is.
        """
        artifact_id = upload.artifact_id or new_id()
        return await self._upload(
            upload, data, Artifact(artifact_id=artifact_id, name=upload.name, created_by=upload.by)
        )

    async def upload_output(
        self, runner_id: str, attempt_id: str, fence: int, upload: NewUpload, data: AsyncIterator[bytes]
    ) -> Artifact:
        """Keeps a file that an attempt left; see `upload`.

        Raises:
            StaleAttempt: The attempt has another fence or runner, or its end was reported.
        """
        job_id = await self._job_of(runner_id, attempt_id, fence)
        artifact = Artifact(
            artifact_id=new_id(), name=upload.name, job_id=job_id, attempt_id=attempt_id, created_by=upload.by
        )
        return await self._upload(upload, data, artifact)

    async def fetch_input(
        self, runner_id: str, attempt_id: str, fence: int, artifact_id: str, offset: int
    ) -> AsyncIterator[tuple[Artifact, bytes]]:
        """Yields an input of an attempt from ``offset`` on, at least one piece.

        Raises:
            StaleAttempt: The attempt has another fence or runner, or its end was reported.
            ArtifactNotFound: The job does not name it, or it is gone.
        """
        job = await self._jobs.get(await self._job_of(runner_id, attempt_id, fence))
        if all(one.artifact_id != artifact_id for one in job.spec.inputs):
            raise ArtifactNotFound(artifact_id=artifact_id)
        artifact = await self._store.get(artifact_id)
        if offset >= artifact.size:
            yield artifact, b""
        async for piece in self.download(artifact_id, offset=offset):
            yield artifact, piece

    async def _job_of(self, runner_id: str, attempt_id: str, fence: int) -> str:
        try:
            attempt = await self._jobs.attempt(attempt_id)
        except AttemptNotFound:
            raise StaleAttempt(attempt_id=attempt_id, fence=fence) from None
        mine = attempt.runner_id == runner_id and attempt.fence == fence
        if not mine or attempt.state is AttemptState.FINISHED:
            raise StaleAttempt(attempt_id=attempt_id, fence=fence)
        return attempt.job_id

    async def _upload(self, upload: NewUpload, data: AsyncIterator[bytes], new: Artifact) -> Artifact:
        check_path(upload.name, field="name")
        if len(upload.request_id) > MAX_NAME:
            raise InvalidArgument(field="request_id", problem=f"at most {MAX_NAME} characters are taken")
        if upload.media_type:
            new = _with_type(new, upload.media_type)
        artifact = await self._store.begin(new, request_id=upload.request_id)
        if artifact.state is ArtifactState.READY:
            return artifact
        if not 0 <= upload.offset <= artifact.size:
            problem = f"{artifact.size} bytes are kept, so the data cannot begin at {upload.offset}"
            raise InvalidArgument(field="offset", problem=problem)
        digest = hashlib.sha256() if artifact.size == 0 else None
        place, waiting = upload.offset, bytearray()
        cut: UploadCut | None = None
        try:
            async for piece in data:
                behind = place + len(piece)
                if behind > artifact.size + len(waiting):
                    waiting += piece[max(0, artifact.size + len(waiting) - place) :]
                place = behind
                if behind > self._max_bytes:
                    await self.delete(artifact.artifact_id)
                    raise UploadTooLarge(limit=self._max_bytes)
                while len(waiting) >= PART_BYTES:
                    artifact = await self._add(artifact, bytes(waiting[:PART_BYTES]), digest)
                    del waiting[:PART_BYTES]
        except UploadCut as error:
            cut = error
        if waiting:
            artifact = await self._add(artifact, bytes(waiting), digest)
        if cut is not None and not upload.sha256:
            raise cut
        sha256 = digest.hexdigest() if digest is not None else await self._digest(artifact)
        if upload.sha256 and upload.sha256.lower() != sha256:
            if cut is not None:
                raise cut
            await self.delete(artifact.artifact_id)
            raise ArtifactCorrupt(name=upload.name, actual=sha256, announced=upload.sha256)
        return await self._store.finish(artifact.artifact_id, sha256)

    async def _add(self, artifact: Artifact, data: bytes, digest: hashlib._Hash | None) -> Artifact:
        key = new_key("artifacts")

        async def once() -> AsyncIterator[bytes]:
            yield data

        await self._blobs.put(key, once())
        part = ArtifactPart(offset=artifact.size, size=len(data), blob_key=key)
        try:
            after = await self._store.add_part(artifact.artifact_id, part)
        except (ArtifactNotFound, UploadLate):
            await self._blobs.delete(key)
            raise
        if after.size != part.offset + part.size:
            await self._blobs.delete(key)
            raise InvalidArgument(field="request_id", problem="somebody else uploads under it at the same time")
        if digest is not None:
            digest.update(data)
        return after

    async def _digest(self, artifact: Artifact) -> str:
        digest = hashlib.sha256()
        async for piece in self._pieces(artifact, 0, artifact.size):
            digest.update(piece)
        return digest.hexdigest()

    async def uploaded(self, request_id: str, *, by: str) -> Artifact:
        """The artifact of an upload, with how much of it is kept. Raises `RequestNotFound`."""
        return await self._store.by_request(by, request_id)

    async def get(self, artifact_id: str) -> Artifact:
        """Raises `ArtifactNotFound`."""
        return await self._store.get(artifact_id)

    async def list(self, *, job_id: str | None = None, after: str = "", limit: int) -> Sequence[Artifact]:
        """Those that are READY, oldest first, behind the one with the id ``after``."""
        return await self._store.list(job_id=job_id, after=after, limit=limit)

    async def download(self, artifact_id: str, *, offset: int = 0, limit: int = 0) -> AsyncIterator[bytes]:
        """Yields the bytes of an artifact, from ``offset`` on, at most ``limit`` (0: all).

        Raises:
            ArtifactNotFound: It is not there, or not READY.
            RangeOutside: ``offset`` lies behind its end.
        """
        artifact = await self._store.get(artifact_id)
        if artifact.state is not ArtifactState.READY:
            raise ArtifactNotFound(artifact_id=artifact_id)
        if offset < 0 or limit < 0 or offset > artifact.size:
            raise RangeOutside(size=artifact.size)
        end = min(artifact.size, offset + limit) if limit else artifact.size
        async for piece in self._pieces(artifact, offset, end):
            yield piece

    async def _pieces(self, artifact: Artifact, offset: int, end: int) -> AsyncIterator[bytes]:
        for part in await self._store.parts(artifact.artifact_id):
            while part.offset <= offset < min(end, part.offset + part.size):
                size = min(READ_BYTES, end - offset, part.offset + part.size - offset)
                try:
                    piece = await self._blobs.read(part.blob_key, offset - part.offset, size)
                except BlobNotFound:
                    raise ArtifactNotFound(artifact_id=artifact.artifact_id) from None  # Deleted meanwhile.
                offset += len(piece)
                yield piece

    async def check(self, artifact_ids: Collection[str]) -> None:
        """Raises `InvalidArgument` when a job is to get one that is not READY."""
        missing = set(artifact_ids).difference(await self._store.ready(artifact_ids)) if artifact_ids else ()
        for artifact_id in missing:
            raise InvalidArgument(field="inputs", problem=f"there is no artifact {artifact_id}: upload it first")

    async def delete(self, artifact_id: str, *, mark: Mark | None = None) -> None:
        """Raises `ArtifactNotFound`."""
        for key in await self._store.delete(artifact_id, mark=mark):
            await self._blobs.delete(key)

    async def sweep(self) -> None:
        """Lets go what is over its time, and uploads that nobody ended."""
        while True:
            count, keys = await self._store.expire(
                seconds=self._keep_seconds, upload_seconds=UPLOAD_SECONDS, limit=AT_ONCE
            )
            for key in keys:
                await self._blobs.delete(key)
            if count < AT_ONCE:
                return


def _with_type(artifact: Artifact, media_type: str) -> Artifact:
    if len(media_type) > MAX_NAME or not media_type.isascii() or not media_type.isprintable():
        raise InvalidArgument(field="media_type", problem=f"give a media type such as {MEDIA_TYPE}")
    return replace(artifact, media_type=media_type)
