"""Resident memory when idle, and what a person waits for at start-up."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time

import psutil

from benchmarks.figures import Stopwatch
from benchmarks.report import Goal, Row
from benchmarks.server import RUNNER, Server, serve

_MEMORY = {"server": 110.0, "worker": 60.0, "supervisor": 15.0, "guard": None}


async def measure(quick: bool) -> list[Row]:
    """Memory before the first job, on the last of a few servers; medians of the times."""
    starts, runs = (1, 3) if quick else (5, 9)
    ready, memory, execs = [], dict[str, float](), list[float]()
    for number in range(starts):
        with serve() as server:
            ready.append(server.ready_seconds)
            if number == starts - 1:
                memory = await _idle_memory(server)
                execs = [_wall([str(RUNNER), "exec", "--", "true"], server) for _ in range(runs + 1)][1:]
    bare = statistics.median(_wall([sys.executable, "-c", "pass"]) for _ in range(runs))
    imports = statistics.median(_wall([sys.executable, "-c", "import grpc.aio"]) for _ in range(runs))
    rows = [
        Row(
            what=f"idle memory: {name}",
            ours=memory[name],
            unit="MB RSS",
            goal=Goal("ours", "lower", floor) if floor is not None else None,
            how="before the first job",
        )
        for name, floor in _MEMORY.items()
    ]
    return [
        *rows,
        Row(
            what="`runner serve` to ready",
            ours=statistics.median(ready),
            unit="s",
            baseline=imports,
            against="python, import grpc.aio",
            goal=Goal("ours", "lower", 1.0),
            how=f"median of {starts}, new data directory",
        ),
        Row(
            what="`runner exec -- true`",
            ours=statistics.median(execs),
            unit="s",
            baseline=bare,
            against="python -c pass",
            goal=Goal("ours", "lower", 0.3),
            how=f"median of {runs}",
        ),
    ]


async def _idle_memory(server: Server) -> dict[str, float]:
    """MB of each process, once all are there and have not grown for half a second."""
    deadline = time.monotonic() + 15
    before: dict[str, float] = {}
    while time.monotonic() < deadline:
        await asyncio.sleep(0.5)
        try:
            now = {name: process.memory_info().rss / 1e6 for name, process in server.processes().items()}
        except psutil.NoSuchProcess:
            continue
        if now == before and now.keys() >= _MEMORY.keys():
            return now
        before = now
    raise RuntimeError(f"the processes of an idle server do not come to rest: {before}")


def _wall(command: list[str], server: Server | None = None) -> float:
    environment = os.environ | ({"RUNNER_SERVER": server.grpc} if server is not None else {})
    stopwatch = Stopwatch()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, env=environment)
    return stopwatch.seconds
