"""One big log, followed from its start while it is written, against the same program on a plain pipe."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
from hashlib import sha256

import grpc.aio

from benchmarks.figures import Stopwatch
from benchmarks.report import Goal, Row
from benchmarks.server import serve
from runner.v1.command_service_pb2 import RunCommandRequest
from runner.v1.command_service_pb2_grpc import CommandServiceStub
from runner.v1.job_pb2 import Job
from runner.v1.log_stream_service_pb2 import StreamLogsRequest
from runner.v1.log_stream_service_pb2_grpc import LogStreamServiceStub

BLOCK = 64 * 1024

# Each block begins with its number: one that is lost, doubled or out of order changes the digest.
_WRITE = """
import os, sys
body = bytes(range(256)) * 256
for number in range(int(sys.argv[1])):
    data = number.to_bytes(8, "big") + body[8:]
    while data:
        data = data[os.write(1, data):]
"""


async def measure(quick: bool) -> list[Row]:
    """MB/s from the submit of the command to the end of its log at the follower."""
    rounds, blocks = (1, 1600) if quick else (3, 3200)
    size = blocks * BLOCK / 1e6
    pipes, rates = [], []
    with serve() as server:
        async with grpc.aio.insecure_channel(server.grpc, options=[("grpc.max_receive_message_length", -1)]) as channel:
            await _followed(channel, 160)
            for _ in range(rounds):
                stopwatch = Stopwatch()
                expected = _piped(blocks)
                pipes.append(size / stopwatch.seconds)
                stopwatch = Stopwatch()
                async with asyncio.timeout(60):
                    found = await _followed(channel, blocks)
                rates.append(size / stopwatch.seconds)
                if found != expected:
                    raise RuntimeError("the followed log is not what was written")
    return [
        Row(
            what="log stream, one follower",
            ours=statistics.median(rates),
            unit="MB/s",
            baseline=statistics.median(pipes),
            against="plain pipe with sha256",
            goal=Goal("ours", "higher", 100),
            how=f"median of {rounds} x {size:,.0f} MB, sha256 equal",
        )
    ]


async def _followed(channel: grpc.aio.Channel, blocks: int) -> str:
    """Runs the program as a command, follows it from the start, and returns the digest of what came."""
    reply = await CommandServiceStub(channel).RunCommand(RunCommandRequest(argv=_program(blocks)))
    digest, state = sha256(), Job.STATE_UNSPECIFIED
    request = StreamLogsRequest(job_id=reply.command.job_id, follow=True)
    async for message in LogStreamServiceStub(channel).StreamLogs(request):
        for record in message.records:
            digest.update(record.data)
        if message.HasField("end"):
            state = message.end.state
    if state != Job.STATE_SUCCEEDED:
        raise RuntimeError(f"the writer ended {Job.State.Name(state)}")
    return digest.hexdigest()


def _piped(blocks: int) -> str:
    digest = sha256()
    with subprocess.Popen(_program(blocks), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while data := os.read(process.stdout.fileno(), BLOCK):
            digest.update(data)
    return digest.hexdigest()


def _program(blocks: int) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", _WRITE, str(blocks)]
