"""Short commands end to end, against the rate at which this machine starts processes at all."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from typing import Any

import grpc.aio
from google.protobuf.duration_pb2 import Duration

from benchmarks.figures import Stopwatch, percentile
from benchmarks.report import Goal, Row
from benchmarks.server import serve
from runner.v1.command_service_pb2 import RunCommandRequest
from runner.v1.command_service_pb2_grpc import CommandServiceStub
from runner.v1.job_pb2 import Job
from runner.v1.job_service_pb2 import WatchJobsRequest
from runner.v1.job_service_pb2_grpc import JobServiceStub

SLOTS = 16
IN_FLIGHT = 64
_TRUE = RunCommandRequest(argv=["true"])
_TRUE_TO_ITS_END = RunCommandRequest(argv=["true"], wait=Duration(seconds=60))

# In a small process of its own: nothing of ours makes its fork slower. One core, as the floor is written.
_SPAWN = """
import os, subprocess, sys, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
seconds, count = float(sys.argv[1]), 0
for _ in range(20):
    subprocess.Popen(["true"]).wait()
start = time.perf_counter()
while (spent := time.perf_counter() - start) < seconds:
    subprocess.Popen(["true"]).wait()
    count += 1
print(count / spent)
"""


async def measure(quick: bool) -> list[Row]:
    """Rate with many under way, and the time from submit to done of one at a time."""
    rounds, count, singles, spawn_seconds = (2, 400, 60, 0.4) if quick else (4, 1000, 200, 1.0)
    rates, watched, spawns = [], [], []
    with serve(slots=SLOTS) as server:
        async with grpc.aio.insecure_channel(server.grpc) as channel:
            await _rate(channel, count // 3)
            for _ in range(rounds):
                spawns.append(spawn_rate(spawn_seconds))
                rates.append(await _rate(channel, count))
                watched.append(await _watched_rate(channel, count))
            latencies = await _one_at_a_time(channel, singles)
    spawn = statistics.median(spawns)
    how = f"median of {rounds} x {count}, {IN_FLIGHT} in flight, {SLOTS} slots"
    one_spawn = 1000 / spawn
    return [
        Row(
            what="short commands end to end",
            ours=statistics.median(rates),
            unit="/s",
            baseline=spawn,
            against="Popen(true).wait() on one core",
            # The in-memory Go agent does 1,700/s where a bare spawn loop does 1,300/s.
            goal=Goal("ratio", "higher", 0.5, 1.3),
            how=how,
        ),
        Row(
            what="the same, submitted and watched apart",
            ours=statistics.median(watched),
            unit="/s",
            baseline=spawn,
            against="Popen(true).wait() on one core",
            how=f"{how}, RunCommand and one WatchJobs stream",
        ),
        Row(
            what="submit to done p50",
            ours=percentile(latencies, 0.50),
            unit="ms",
            baseline=one_spawn,
            against="one bare spawn",
            goal=Goal("ours", "lower", 10, 5),
            how=f"{singles}, one at a time",
        ),
        Row(
            what="submit to done p99",
            ours=percentile(latencies, 0.99),
            unit="ms",
            baseline=one_spawn,
            against="one bare spawn",
            how=f"{singles}, one at a time",
        ),
    ]


def spawn_rate(seconds: float) -> float:
    """Processes per second of a bare loop on one core."""
    command = [sys.executable, "-I", "-S", "-c", _SPAWN, str(seconds)]
    return float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


async def _rate(channel: grpc.aio.Channel, count: int) -> float:
    """Commands per second from the first submit to the last end, each by one call that waits for its end."""
    commands, left = CommandServiceStub(channel), count

    async def submit() -> None:
        nonlocal left
        while left:
            left -= 1
            reply = await commands.RunCommand(_TRUE_TO_ITS_END)
            _check(reply.command.state)

    async with asyncio.timeout(30 + count / 20):
        stopwatch = Stopwatch()
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(submit())
        return count / stopwatch.seconds


async def _watched_rate(channel: grpc.aio.Channel, count: int) -> float:
    """Commands per second from the first submit to the last one seen finished on one WatchJobs stream."""
    commands, jobs = CommandServiceStub(channel), JobServiceStub(channel)
    present = await _present(commands, jobs)
    room, watch = asyncio.Semaphore(IN_FLIGHT), jobs.WatchJobs(WatchJobsRequest(after=present))

    async def submit() -> None:
        await commands.RunCommand(_TRUE)

    async def submit_all() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                await room.acquire()
                group.create_task(submit())

    async with asyncio.timeout(30 + count / 20), asyncio.TaskGroup() as group:
        stopwatch, finished = Stopwatch(), 0
        group.create_task(submit_all())
        async for message in watch:
            if message.event.kind == "finished":
                _check(message.event.state)
                room.release()
                finished += 1
                if finished == count:
                    # The stream has no end of its own, and the next round must not pay for this one's.
                    watch.cancel()
                    break
        return count / stopwatch.seconds


async def _present(commands: Any, jobs: Any) -> int:
    """The newest event: that of a command which has just finished."""
    reply = await commands.RunCommand(_TRUE)
    newest = 0
    async for message in jobs.WatchJobs(WatchJobsRequest(job_id=reply.command.job_id)):
        newest = message.event.sequence
    return newest


def _check(state: Job.State.ValueType) -> None:
    if state != Job.STATE_SUCCEEDED:
        raise RuntimeError(f"a command ended {Job.State.Name(state)}")


async def _one_at_a_time(channel: grpc.aio.Channel, count: int) -> list[float]:
    """Milliseconds from the submit of a command to the reply that it is done."""
    commands, spent = CommandServiceStub(channel), []
    for number in range(count + 10):
        start = time.perf_counter()
        reply = await commands.RunCommand(_TRUE_TO_ITS_END)
        _check(reply.command.state)
        if number >= 10:
            spent.append((time.perf_counter() - start) * 1000)
    return spent
