"""How long a servicer still runs once its client has left: in process, and behind a channel."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from typing import Any

from grpc import aio
from websockets.asyncio.client import connect

from benchmarks.figures import percentile
from benchmarks.report import Goal, Row
from gateway import Channel, Gateway, HandlerCapture
from runner.v1.command_service_pb2 import ExecCommandRequest, ExecCommandResponse
from runner.v1.command_service_pb2_grpc import CommandServiceServicer, add_CommandServiceServicer_to_server
from runner.v1.job_service_pb2 import GetJobRequest, GetJobResponse, WatchJobsRequest, WatchJobsResponse
from runner.v1.job_service_pb2_grpc import JobServiceServicer, add_JobServiceServicer_to_server
from runner_service.http import HttpServer

BACKENDS = ("in process", "TCP", "unix socket")


class _Hanging(JobServiceServicer, CommandServiceServicer):
    """Never answers, and notes when it is cancelled."""

    def __init__(self) -> None:
        self.waiting = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def GetJob(self, request: GetJobRequest, context: Any) -> GetJobResponse:
        await self._hang()
        return GetJobResponse()

    async def WatchJobs(self, request: WatchJobsRequest, context: Any) -> AsyncIterator[WatchJobsResponse]:
        yield WatchJobsResponse()
        await self._hang()

    async def ExecCommand(
        self, requests: AsyncIterator[ExecCommandRequest], context: Any
    ) -> AsyncIterator[ExecCommandResponse]:
        yield ExecCommandResponse()
        await self._hang()

    async def _hang(self) -> None:
        self.waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


async def measure(quick: bool) -> list[Row]:
    """From the client's close to the servicer's CancelledError; the worst of all rounds is judged."""
    rounds = 10 if quick else 100
    rows = []
    for backend in BACKENDS:
        make: Any = _Hanging
        servicer: _Hanging = make()
        async with _served(backend, servicer) as address:
            for what in ("unary", "stream", "WebSocket"):
                samples = [await _leave(servicer, address, what) for _ in range(rounds)]
                rows.append(
                    Row(
                        what=f"client leaves → servicer cancelled, {what}, {backend}",
                        ours=max(samples) * 1e3,
                        unit="ms",
                        goal=Goal("ours", "lower", 100.0),
                        how=f"worst of {rounds}; p50 {statistics.median(samples) * 1e3:.2f}, "
                        f"p99 {percentile(samples, 0.99) * 1e3:.2f} ms",
                    )
                )
    return rows


async def _leave(servicer: _Hanging, address: str, what: str) -> float:
    servicer.waiting.clear()
    servicer.cancelled.clear()
    if what == "WebSocket":
        socket = await connect(f"ws://{address}/api/v2/commands:exec", proxy=None)
        await servicer.waiting.wait()
        begun = time.perf_counter()
        socket.transport.abort()
        await servicer.cancelled.wait()
        ended = time.perf_counter()
        with contextlib.suppress(Exception):
            await socket.close()
        return ended - begun
    path = "/api/v2/jobs/a" if what == "unary" else "/api/v2/jobs:watch"
    host, port = address.split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n".encode())
    await servicer.waiting.wait()
    begun = time.perf_counter()
    writer.close()
    await servicer.cancelled.wait()
    ended = time.perf_counter()
    await writer.wait_closed()
    return ended - begun


def _register(servicer: _Hanging, server: Any) -> None:
    add_JobServiceServicer_to_server(servicer, server)
    add_CommandServiceServicer_to_server(servicer, server)


@contextlib.asynccontextmanager
async def _served(backend: str, servicer: _Hanging) -> AsyncIterator[str]:
    captured = HandlerCapture()
    _register(servicer, captured)
    async with contextlib.AsyncExitStack() as stack:
        if backend == "in process":
            gateway = Gateway(handlers=captured)
        else:
            server = aio.server(options=[("grpc.so_reuseport", 0)])
            _register(servicer, server)
            if backend == "TCP":
                target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            else:
                target = f"unix:{stack.enter_context(tempfile.TemporaryDirectory())}/grpc.sock"
                server.add_insecure_port(target)
            await server.start()
            stack.push_async_callback(server.stop, None)
            channel = await stack.enter_async_context(aio.insecure_channel(target))
            gateway = Gateway(backend=Channel(channel), services=captured.services())
        http = HttpServer(gateway)
        address = await http.listen("127.0.0.1:0")
        await http.start()
        stack.push_async_callback(http.stop, grace=0)
        yield address
