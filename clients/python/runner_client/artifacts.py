"""Artifacts, as typed calls: :attr:`runner_client.AsyncClient.artifacts`. What is cut goes on where it was."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Protocol

from grpc import aio

from runner.v1.artifact_service_pb2 import (
    DeleteArtifactRequest,
    DownloadArtifactRequest,
    DownloadArtifactResponse,
    GetArtifactRequest,
    GetUploadRequest,
    ListArtifactsRequest,
    UploadArtifactRequest,
)
from runner.v1.artifact_service_pb2_grpc import ArtifactServiceStub
from runner_client.calls import Caller
from runner_client.errors import NotFound, ServerFault
from runner_client.streams import upload

if TYPE_CHECKING:
    from runner.v1.artifact_pb2 import Artifact

PIECE_BYTES = 256 * 1024
PAGE_SIZE = 500


class Source(Protocol):
    """A file that can be read more than once."""

    def read(self, size: int, /) -> bytes: ...
    def seek(self, offset: int, /) -> int: ...


class ArtifactCalls:
    """Files that jobs get and leave. Made by the client."""

    def __init__(self, channel: aio.Channel, caller: Caller) -> None:
        self._stub = ArtifactServiceStub(channel)
        self._caller = caller

    async def upload(
        self, source: Source, name: str, *, media_type: str = "", request_id: str | None = None
    ) -> Artifact:
        """Uploads a file that can be sought in, from its start, and checks what has arrived.

        ``request_id``: a name of the caller's own, by which another call, also of another process, goes on.
        """
        request_id = request_id or os.urandom(16).hex()
        retry = self._caller.retry()
        offset = await self._kept(request_id)
        while True:
            head = UploadArtifactRequest(name=name, media_type=media_type, request_id=request_id, offset=offset)
            try:
                call = self._stub.UploadArtifact(metadata=self._caller.metadata)
                artifact = (await upload(call, _pieces(source, head))).artifact
                break
            except aio.AioRpcError as error:
                await retry.pause(self._caller.met(error))
                before, offset = offset, await self._kept(request_id)
                if offset > before:
                    retry.progress()
        if artifact.sha256 != await asyncio.to_thread(_digest, source):
            await self.delete(artifact.artifact_id)
            raise ServerFault(f"what arrived of {name} is not what was sent: upload it again")
        return artifact

    async def _kept(self, request_id: str) -> int:
        """How much of an upload the server has."""
        try:
            request = GetUploadRequest(request_id=request_id)
            artifact = (await self._caller.unary(self._stub.GetUpload, request)).artifact
        except NotFound:
            return 0
        return int(artifact.size)

    async def get(self, artifact_id: str) -> Artifact:
        """Returns what is known of one."""
        request = GetArtifactRequest(artifact_id=artifact_id)
        return (await self._caller.unary(self._stub.GetArtifact, request)).artifact

    async def list(self, job_id: str = "") -> list[Artifact]:
        """Returns those that a job left, or all, oldest first."""
        request = ListArtifactsRequest(job_id=job_id, page_size=PAGE_SIZE)
        found: list[Artifact] = []
        while True:
            page = await self._caller.unary(self._stub.ListArtifacts, request)
            found += page.artifacts
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def download(self, artifact: Artifact, *, offset: int = 0) -> AsyncIterator[bytes]:
        """Yields its bytes from ``offset`` on. Whoever takes them all checks ``artifact.sha256``."""
        if offset >= artifact.size:
            return
        request = DownloadArtifactRequest(artifact_id=artifact.artifact_id, offset=offset)

        def passed(message: DownloadArtifactResponse) -> bool:
            request.offset += len(message.data)
            return request.offset >= artifact.size

        async for message in self._caller.stream(self._stub.DownloadArtifact, request, passed=passed):
            yield message.data

    async def delete(self, artifact_id: str) -> None:
        """Deletes one. Raises ``NotFound``."""
        await self._caller.unary(self._stub.DeleteArtifact, DeleteArtifactRequest(artifact_id=artifact_id))


def _digest(source: Source) -> str:
    digest = hashlib.sha256()
    source.seek(0)
    while piece := source.read(PIECE_BYTES):
        digest.update(piece)
    return digest.hexdigest()


async def _pieces(source: Source, head: UploadArtifactRequest) -> AsyncIterator[UploadArtifactRequest]:
    source.seek(head.offset)
    yield head
    while piece := await asyncio.to_thread(source.read, PIECE_BYTES):
        yield UploadArtifactRequest(data=piece)
    yield UploadArtifactRequest(end=True)
