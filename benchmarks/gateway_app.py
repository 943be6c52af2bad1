"""``python -m benchmarks.gateway_app NAME``: the process that is measured. It prints where it listens.

``gateway`` and ``static`` are served by the HTTP server of the product. ``static`` answers every request with the bytes
of the same job, once it has read the body: what is left of a request when nothing is routed, decoded or called. It says
so in the two messages of ASGI; ``static-whole`` says it in the one that our server takes too
(``gateway.whole_replies``), as the gateway does; ``static-uvicorn`` is ``static`` on uvicorn as it comes. ``grpc`` is
the same servicers as a gRPC server, for a transcoder in front of it.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
import uvloop
from grpc import aio

from benchmarks.sample_job import sample_job
from gateway import Gateway, HandlerCapture
from gateway.codec import Encoder, Style
from gateway.whole_replies import WHOLE_REPLY, lines
from runner.v1.artifact_service_pb2 import DownloadArtifactRequest, DownloadArtifactResponse
from runner.v1.artifact_service_pb2_grpc import ArtifactServiceServicer, add_ArtifactServiceServicer_to_server
from runner.v1.job_service_pb2 import (
    CreateJobRequest,
    CreateJobResponse,
    GetJobRequest,
    GetJobResponse,
    WatchJobsRequest,
    WatchJobsResponse,
)
from runner.v1.job_service_pb2_grpc import JobServiceServicer, add_JobServiceServicer_to_server
from runner_service.http import HttpServer

EVENTS = 200_000
PIECES, PIECE_BYTES = 4_000, 64 * 1024


class _Artifacts(ArtifactServiceServicer):
    """One artifact, out of memory."""

    async def DownloadArtifact(self, request: DownloadArtifactRequest, context: Any) -> AsyncIterator[Any]:
        piece = DownloadArtifactResponse(data=bytes(PIECE_BYTES))
        for _ in range(PIECES):
            yield piece


class _Jobs(JobServiceServicer):
    """Answers from memory, with messages that were made once, as the bytes of the static application were."""

    def __init__(self) -> None:
        self._job = sample_job()
        self._found = GetJobResponse(job=self._job)
        self._created = CreateJobResponse(job=self._job)

    async def GetJob(self, request: GetJobRequest, context: Any) -> GetJobResponse:
        return self._found

    async def WatchJobs(self, request: WatchJobsRequest, context: Any) -> AsyncIterator[Any]:
        event = WatchJobsResponse()
        event.event.sequence, event.event.job_id = 1, self._job.job_id
        for _ in range(EVENTS):
            yield event

    async def CreateJob(self, request: CreateJobRequest, context: Any) -> CreateJobResponse:
        return self._created


def _register(server: Any) -> None:
    servicer: Any = _Jobs
    add_JobServiceServicer_to_server(servicer(), server)
    artifacts: Any = _Artifacts
    add_ArtifactServiceServicer_to_server(artifacts(), server)


def _gateway() -> Any:
    capture = HandlerCapture()
    _register(capture)
    return Gateway(handlers=capture)


def _static(*, whole: bool = False) -> Any:
    body = Encoder(Style()).dumps(GetJobResponse(job=sample_job()))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    start = {"type": "http.response.start", "status": 200, "headers": headers}
    end = {"type": "http.response.body", "body": body}
    all_of_it = {"type": WHOLE_REPLY, "status": 200, "head": lines(headers), "body": body}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await send(start)
        await send(end)

    async def app_in_one(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await send(all_of_it)

    return app_in_one if whole else app


async def _serve(app: Any) -> None:
    server = HttpServer(app)
    print(await server.listen("127.0.0.1:0"), flush=True)
    await server.start()
    # Until its parent closes our standard input, or is gone.
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(grace=0)


async def _serve_uvicorn(app: Any) -> None:
    """As ``HttpServer`` has it, but for the protocol, which is uvicorn's own."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http="httptools", lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve([listener]))
    print(f"127.0.0.1:{listener.getsockname()[1]}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.should_exit = True
    await task


async def _serve_grpc() -> None:
    server = aio.server(options=[("grpc.so_reuseport", 0)])
    _register(server)
    print(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}", flush=True)
    await server.start()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


if __name__ == "__main__":
    match sys.argv[1]:
        case "grpc":
            uvloop.run(_serve_grpc())
        case "gateway":
            uvloop.run(_serve(_gateway()))
        case "static-uvicorn":
            uvloop.run(_serve_uvicorn(_static()))
        case name:
            uvloop.run(_serve(_static(whole=name == "static-whole")))
