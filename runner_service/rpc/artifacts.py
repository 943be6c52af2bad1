"""ArtifactService."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from runner.v1 import artifact_service_pb2 as pb
from runner.v1 import artifact_service_pb2_grpc
from runner_service.domain.artifacts import Artifact
from runner_service.domain.errors import InvalidArgument, RangeOutside
from runner_service.rpc.access import current_principal
from runner_service.rpc.convert import artifacts as convert
from runner_service.rpc.convert import paging
from runner_service.rpc.repeats import current_mark
from runner_service.services.artifacts import Artifacts, NewUpload

_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*")


class ArtifactServicer(artifact_service_pb2_grpc.ArtifactServiceServicer):
    """Converts, calls one service function, converts."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts

    async def UploadArtifact(
        self, requests: AsyncIterator[pb.UploadArtifactRequest], context: Any
    ) -> pb.UploadArtifactResponse:
        first = await anext(aiter(requests), None)
        if first is None:
            raise InvalidArgument(field="name", problem="the first message says what is uploaded")
        upload = NewUpload(
            name=first.name,
            media_type=first.media_type,
            sha256=first.sha256,
            request_id=first.request_id,
            offset=first.offset,
            by=current_principal.get().name,
        )
        artifact = await self._artifacts.upload(upload, convert.data_of(first, requests))
        return pb.UploadArtifactResponse(artifact=convert.artifact(artifact))

    async def GetUpload(self, request: pb.GetUploadRequest, context: Any) -> pb.GetUploadResponse:
        artifact = await self._artifacts.uploaded(request.request_id, by=current_principal.get().name)
        return pb.GetUploadResponse(artifact=convert.artifact(artifact))

    async def GetArtifact(self, request: pb.GetArtifactRequest, context: Any) -> pb.GetArtifactResponse:
        return pb.GetArtifactResponse(artifact=convert.artifact(await self._artifacts.get(request.artifact_id)))

    async def ListArtifacts(self, request: pb.ListArtifactsRequest, context: Any) -> pb.ListArtifactsResponse:
        limit = paging.size(request.page_size, default=100, most=1000)
        found = await self._artifacts.list(job_id=request.job_id or None, after=request.page_token, limit=limit)
        return pb.ListArtifactsResponse(
            artifacts=map(convert.artifact, found),
            next_page_token=found[-1].artifact_id if len(found) == limit else "",
        )

    async def DownloadArtifact(
        self, request: pb.DownloadArtifactRequest, context: Any
    ) -> AsyncIterator[pb.DownloadArtifactResponse]:
        artifact = await self._artifacts.get(request.artifact_id)
        headers, piece = _headers(artifact), _range(request.range, artifact.size)
        offset, limit = piece or (request.offset, request.limit)
        least = 0 if piece is None else 1
        if not 0 <= offset <= artifact.size or limit < least:
            # Over HTTP this is 416, which says how much there is.
            await context.send_initial_metadata(_metadata({"content-range": f"bytes */{artifact.size}"}))
            raise RangeOutside(size=artifact.size)
        if piece is not None:
            headers["content-range"] = f"bytes {offset}-{offset + limit - 1}/{artifact.size}"
        length = artifact.size - offset if limit == 0 else min(limit, artifact.size - offset)
        status = () if piece is None else (("x-http-status", "206"),)
        await context.send_initial_metadata((*status, ("x-http-content-length", str(length)), *_metadata(headers)))
        async for data in self._artifacts.download(request.artifact_id, offset=offset, limit=limit):
            yield pb.DownloadArtifactResponse(data=data)

    async def DeleteArtifact(self, request: pb.DeleteArtifactRequest, context: Any) -> pb.DeleteArtifactResponse:
        await self._artifacts.delete(request.artifact_id, mark=current_mark.get())
        return pb.DeleteArtifactResponse()


def _headers(artifact: Artifact) -> dict[str, str]:
    """What a whole download and a piece have in common. It is a file to keep and no page to show: its media type is the
    uploader's word, and a page of his would act in the name of whoever opens it."""
    name = quote(artifact.name.rpartition("/")[2], safe="")
    return {
        "content-type": artifact.media_type,
        "content-disposition": f"attachment; filename*=UTF-8''{name}",
        "etag": f'"{artifact.sha256}"',
    }


def _metadata(headers: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((f"x-http-header-{name}", value) for name, value in headers.items())


def _range(text: str, size: int) -> tuple[int, int] | None:
    """Offset and length of what a Range header asks for; None when it asks for nothing that is understood. What begins
    behind the end has no length."""
    found = _RANGE.fullmatch(text)
    if found is None or not (found[1] or found[2]) or (found[1] and found[2] and int(found[2]) < int(found[1])):
        return None
    offset = int(found[1]) if found[1] else max(0, size - int(found[2]))
    end = min(size, int(found[2]) + 1) if found[1] and found[2] else size
    return offset, end - offset
