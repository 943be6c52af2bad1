"""Status reports of agents stored per second over HTTP and by the store alone, against one plain commit per report."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.figures import Stopwatch
from benchmarks.report import Goal, Row
from benchmarks.server import serve
from benchmarks.store import plain_commits
from runner_service.domain.agent_reports import NewReport
from runner_service.store import SqlStore, open_store

TOGETHER = 64
AGENTS = 100
NOW = 1_768_092_868_000_000_000
BODY = json.dumps(
    {
        "agent_id": "agent-001",
        "agent_name": "Test Agent",
        "agent_source": "benchmark",
        "session_topic": "task-001",
        "status": "running",
        "timestamp": "2026-01-11T00:54:28Z",
        "message": "step done",
    }
).encode()


async def measure(quick: bool) -> list[Row]:
    """Durable reports of 100 agents with many callers at one time. The documented floor is 2,000 a second."""
    rounds, count = (3, 640) if quick else (5, 6400)
    ours, bare = [], []
    with tempfile.TemporaryDirectory(prefix="runner-bench-") as directory:
        async with open_store(f"sqlite:///{directory}/runner.db") as store:
            await _report(store, 0, TOGETHER)
            for _ in range(rounds):
                bare.append(plain_commits(Path(directory) / "plain.db", count // 10))
                stopwatch = Stopwatch()
                share = count // TOGETHER
                await asyncio.gather(*(_report(store, caller * share, share) for caller in range(TOGETHER)))
                ours.append(count / stopwatch.seconds)
    baseline = statistics.median(bare)
    return [
        Row(
            what="agent reports: webhook",
            ours=await _over_http(1.0 if quick else 5.0),
            unit="/s",
            baseline=baseline,
            against="one insert, one commit",
            goal=Goal("ours", "higher", 2_000),
            how=f"POST, durable, {TOGETHER} connections, server and client on these cores",
        ),
        Row(
            what="agent reports: store",
            ours=statistics.median(ours),
            unit="/s",
            baseline=baseline,
            against="one insert, one commit",
            how=f"median of {rounds} x {count}, {TOGETHER} callers, {AGENTS} agents",
        ),
    ]


async def _over_http(seconds: float) -> float:
    """Reports per second that a server takes, each answered when it is durable."""
    with serve(slots=1) as server:
        head = f"POST /webhook/status HTTP/1.1\r\nHost: {server.http}\r\nContent-Type: application/json\r\n"
        request = f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY
        command = [sys.executable, "-m", "benchmarks.http_load", server.http, str(seconds), str(TOGETHER)]
        done = await asyncio.to_thread(
            subprocess.run, command, input=request, stdout=subprocess.PIPE, check=True, timeout=seconds + 60
        )
        return float(done.stdout)


async def _report(store: SqlStore, first: int, count: int) -> None:
    for number in range(first, first + count):
        new = NewReport(
            agent_id=f"agent-{number % AGENTS}",
            topic=f"task-{number % 7}",
            status="running",
            reported_at=NOW + number,
            message="step done",
        )
        await store.agent_reports.report(new, default_ttl_minutes=30, history=1_000)
