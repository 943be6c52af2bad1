"""How long a line takes from the write of the process to the eyes of a follower, by gRPC and by SSE."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator

import grpc.aio
import httpx

from benchmarks.figures import percentile
from benchmarks.report import Goal, Row
from benchmarks.server import Server, serve
from runner.v1.command_service_pb2 import RunCommandRequest
from runner.v1.command_service_pb2_grpc import CommandServiceStub
from runner.v1.log_stream_service_pb2 import StreamLogsRequest
from runner.v1.log_stream_service_pb2_grpc import LogStreamServiceStub

WARM_UP_SECONDS = 0.3
"""Lines are counted that were written so long after the first one came: before it the follower was on its way."""
EVERY_SECONDS = 0.03

_TICKS = """
import sys, time
for _ in range(int(sys.argv[1])):
    sys.stdout.write("%d\\n" % time.clock_gettime_ns(time.CLOCK_MONOTONIC))
    sys.stdout.flush()
    time.sleep(float(sys.argv[2]))
"""


async def measure(quick: bool) -> list[Row]:
    """p50 and p99 of each way, beside a plain pipe from the same program to this process."""
    lines = 60 if quick else 300
    pipe = _by_pipe(min(lines, 100))
    rows = []
    with serve() as server:
        for name, follow in (("gRPC", _grpc), ("SSE", _sse)):
            found = _Delays()
            async for piece in follow(server, await _start(server, lines)):
                found.take(piece)
            delays = found.samples
            if len(delays) < lines / 2:
                raise RuntimeError(f"only {len(delays)} of {lines} lines came by {name} while it followed")
            for share, floor in ((0.50, 20.0), (0.99, 100.0)):
                rows.append(
                    Row(
                        what=f"follow by {name} p{share * 100:.0f}",
                        ours=percentile(delays, share),
                        unit="ms",
                        baseline=percentile(pipe, share),
                        against="plain pipe, same program",
                        goal=Goal("ours", "lower", floor),
                        how=f"{len(delays)} lines, one in {EVERY_SECONDS * 1000:.0f} ms",
                    )
                )
    return rows


async def _start(server: Server, lines: int) -> str:
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        reply = await CommandServiceStub(channel).RunCommand(RunCommandRequest(argv=_program(lines)))
        return str(reply.command.job_id)


class _Delays:
    """Milliseconds between the time that stands in a line and the time it came, line by line."""

    def __init__(self) -> None:
        self.samples: list[float] = []
        self._rest = b""
        self._begin = 0

    def take(self, piece: bytes) -> None:
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self._begin = self._begin or now + round(WARM_UP_SECONDS * 1e9)
        *whole, self._rest = (self._rest + piece).split(b"\n")
        self.samples += [(now - int(line)) / 1e6 for line in whole if int(line) >= self._begin]


async def _grpc(server: Server, job_id: str) -> AsyncIterator[bytes]:
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        request = StreamLogsRequest(job_id=job_id, follow=True)
        async for message in LogStreamServiceStub(channel).StreamLogs(request):
            for record in message.records:
                yield record.data


async def _sse(server: Server, job_id: str) -> AsyncIterator[bytes]:
    url = f"http://{server.http}/api/v2/jobs/{job_id}/logs:stream?follow=true"
    async with (
        httpx.AsyncClient(timeout=30, trust_env=False) as client,
        client.stream("GET", url, headers={"accept": "text/event-stream"}) as reply,
    ):
        reply.raise_for_status()
        async for line in reply.aiter_lines():
            if line.startswith("data:"):
                for record in json.loads(line[5:]).get("records", ()):
                    yield base64.b64decode(record["data"])


def _by_pipe(lines: int) -> list[float]:
    delays = _Delays()
    with subprocess.Popen(_program(lines), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while piece := os.read(process.stdout.fileno(), 65536):
            delays.take(piece)
    return delays.samples


def _program(lines: int) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", _TICKS, str(lines), str(EVERY_SECONDS)]
