"""Streams of requests end with what the server said, also when it says it while they are written. Real gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from grpc import aio

from runner.v1 import agent_service_pb2_grpc, artifact_service_pb2_grpc, command_service_pb2_grpc
from runner.v1.agent_service_pb2 import ChatAgentRequest
from runner.v1.artifact_pb2 import Artifact
from runner.v1.artifact_service_pb2 import UploadArtifactRequest, UploadArtifactResponse
from runner.v1.command_service_pb2 import ExecCommandRequest, ExecCommandResponse, ExecStarted
from runner.v1.input_pb2 import InputStatus
from runner_client import AsyncClient, PermissionDenied
from runner_client.streams import finish, send, send_all, upload

CALLS = 20
"""With ``call.write`` nineteen of them were heard as INTERNAL."""

PIECE = UploadArtifactRequest(data=bytes(1000))


class Refusing(
    agent_service_pb2_grpc.AgentServiceServicer,
    artifact_service_pb2_grpc.ArtifactServiceServicer,
    command_service_pb2_grpc.CommandServiceServicer,
):
    """Refuses, or answers, while requests are under way."""

    def __init__(self) -> None:
        self.calls = 0
        self.read = 0
        """Requests that are read before."""
        self.answers = False

    async def ExecCommand(self, requests: AsyncIterator[ExecCommandRequest], context: Any) -> AsyncIterator[Any]:
        self.calls += 1
        yield ExecCommandResponse(started=ExecStarted(job_id="job", input=InputStatus(limit_offset=1 << 30)))
        await self._refuse(requests, context)

    async def ChatAgent(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        await self._refuse(requests, context)
        yield  # never

    async def UploadArtifact(self, requests: AsyncIterator[Any], context: Any) -> UploadArtifactResponse:
        if not self.answers:
            await self._refuse(requests, context)
        return UploadArtifactResponse(artifact=Artifact(size=7))

    async def _refuse(self, requests: AsyncIterator[Any], context: Any) -> None:
        for _ in range(self.read):
            await anext(requests, None)
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")


@pytest.fixture
async def servicer() -> Refusing:
    return Refusing()


@pytest.fixture
async def target(servicer: Refusing) -> AsyncIterator[str]:
    server = aio.server(options=[("grpc.so_reuseport", 0)])
    agent_service_pb2_grpc.add_AgentServiceServicer_to_server(servicer, server)
    artifact_service_pb2_grpc.add_ArtifactServiceServicer_to_server(servicer, server)
    command_service_pb2_grpc.add_CommandServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


@pytest.fixture
async def channel(target: str) -> AsyncIterator[aio.Channel]:
    async with aio.insecure_channel(target) as opened:
        yield opened


async def without_end(request: Any) -> AsyncIterator[Any]:
    while True:
        yield request


@pytest.mark.parametrize("read", [0, 1, 5])
async def test_a_refusal_is_heard_by_whoever_reads_while_writing(
    servicer: Refusing, channel: aio.Channel, read: int
) -> None:
    servicer.read = read
    chat = agent_service_pb2_grpc.AgentServiceStub(channel).ChatAgent
    heard = []
    for _ in range(CALLS):
        call = chat()
        writing = asyncio.create_task(send_all(call, without_end(ChatAgentRequest(agent_id="a"))))
        with pytest.raises(aio.AioRpcError) as refused:
            await call.read()
        await writing
        heard.append((refused.value.code(), refused.value.details()))
    assert heard == [(grpc.StatusCode.PERMISSION_DENIED, "not you")] * CALLS


async def test_a_refused_upload_says_why(servicer: Refusing, channel: aio.Channel) -> None:
    stub = artifact_service_pb2_grpc.ArtifactServiceStub(channel)
    for read in [0, 1, 5] * 5:
        servicer.read = read
        with pytest.raises(aio.AioRpcError) as refused:
            await upload(stub.UploadArtifact(), without_end(PIECE))
        assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.PERMISSION_DENIED, "not you")


async def test_an_upload_that_is_answered_before_its_end_has_its_answer(
    servicer: Refusing, channel: aio.Channel
) -> None:
    servicer.answers = True
    stub = artifact_service_pb2_grpc.ArtifactServiceStub(channel)
    for _ in range(CALLS):
        assert (await upload(stub.UploadArtifact(), without_end(PIECE))).artifact.size == 7


async def test_an_upload_whose_requests_cannot_be_made_fails_with_the_reason(
    servicer: Refusing, channel: aio.Channel
) -> None:
    async def broken() -> AsyncIterator[UploadArtifactRequest]:
        yield PIECE
        raise OSError("the disk")

    servicer.read = 2
    call = artifact_service_pb2_grpc.ArtifactServiceStub(channel).UploadArtifact()
    with pytest.raises(OSError, match="the disk"):
        await upload(call, broken())
    assert call.cancelled()


async def test_nothing_is_sent_on_a_call_that_has_ended(servicer: Refusing, channel: aio.Channel) -> None:
    call = agent_service_pb2_grpc.AgentServiceStub(channel).ChatAgent()
    with pytest.raises(aio.AioRpcError):
        await call.read()
    assert not await send(call, ChatAgentRequest())
    await finish(call)
    assert await call.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_the_client_hears_why_its_streams_are_refused(servicer: Refusing, target: str) -> None:
    servicer.read = 3
    async with AsyncClient(target) as client:
        for number in range(CALLS):
            with pytest.raises(PermissionDenied):
                await anext(client.agents.chat(without_end(ChatAgentRequest(agent_id="a"))))
            session = client.exec(["cat"])
            giving = asyncio.create_task(give(session.write, session.started))
            with pytest.raises(PermissionDenied):
                async for _ in session.output():
                    raise AssertionError("there is no output")
            giving.cancel()
            assert servicer.calls == number + 1, "it was tried again"


async def give(write: Callable[[bytes], Any], started: asyncio.Event) -> None:
    await started.wait()
    while True:
        await write(b"x")
        await asyncio.sleep(0)
