"""An upload that is cut over gRPC is no file, whatever the end of its requests looks like."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from access_app import Served
from grpc import aio

from runner.dialects.testflinger.v1 import shared_pb2
from runner.v1 import artifact_pb2
from runner.v1 import artifact_service_pb2 as pb
from runner.v1.artifact_service_pb2_grpc import ArtifactServiceStub
from runner_client.errors import from_rpc_error
from runner_service.dialects.testflinger.uploads import Archive
from runner_service.domain.errors import UploadCut

OPERATOR = (("authorization", "Bearer operator-key"),)


async def said(*requests: pb.UploadArtifactRequest) -> AsyncIterator[pb.UploadArtifactRequest]:
    for request in requests:
        yield request


async def test_what_ends_without_its_last_message_goes_on_and_is_no_file_before(served: Served) -> None:
    async with aio.insecure_channel(served.grpc) as channel:
        stub = ArtifactServiceStub(channel)
        first = pb.UploadArtifactRequest(name="a", request_id="mine", data=b"ab")
        with pytest.raises(aio.AioRpcError) as refused:
            await stub.UploadArtifact(said(first, pb.UploadArtifactRequest(data=b"c")), metadata=OPERATOR)
        assert from_rpc_error(refused.value).reason == "UPLOAD_CUT"
        kept = (await stub.GetUpload(pb.GetUploadRequest(request_id="mine"), metadata=OPERATOR)).artifact
        assert (kept.state, kept.size) == (artifact_pb2.Artifact.STATE_UPLOADING, 3)
        rest = pb.UploadArtifactRequest(name="a", request_id="mine", offset=3, data=b"d", end=True)
        whole = (await stub.UploadArtifact(said(rest), metadata=OPERATOR)).artifact
        assert (whole.state, whole.size) == (artifact_pb2.Artifact.STATE_READY, 4)


@pytest.mark.parametrize("ended", [True, False])
async def test_an_archive_of_a_lab_is_whole_or_none(ended: bool) -> None:
    async def pieces() -> AsyncIterator[shared_pb2.UploadPiece]:
        for data in (b"a", b"b"):
            yield shared_pb2.UploadPiece(content={"data": data})
        if ended:
            yield shared_pb2.UploadPiece(end=True)

    archive = Archive(pieces())
    await archive.begin()
    came = []
    try:
        async for piece in archive.content():
            came.append(piece)
    except UploadCut:
        came.append(b"cut")
    assert b"".join(came) == (b"ab" if ended else b"abcut")
