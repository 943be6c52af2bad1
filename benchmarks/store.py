"""Jobs stored per second by the SQLite store, against one plain commit per job on the same disk."""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import tempfile
from pathlib import Path

from benchmarks.figures import Stopwatch
from benchmarks.report import Row
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import Job, JobKind, JobSpec, JobState, Step
from runner_service.store import SqlStore, open_store

TOGETHER = 64


async def measure(quick: bool) -> list[Row]:
    """Durable creates with many callers at one time."""
    rounds, count = (3, 640) if quick else (5, 3200)
    ours, bare = [], []
    with tempfile.TemporaryDirectory(prefix="runner-bench-") as directory:
        async with open_store(f"sqlite:///{directory}/runner.db") as store:
            await _create(store, TOGETHER)
            for _ in range(rounds):
                bare.append(plain_commits(Path(directory) / "plain.db", count // 10))
                stopwatch = Stopwatch()
                await asyncio.gather(*(_create(store, count // TOGETHER) for _ in range(TOGETHER)))
                ours.append(count / stopwatch.seconds)
    return [
        Row(
            what="store: jobs created",
            ours=statistics.median(ours),
            unit="/s",
            baseline=statistics.median(bare),
            against="one insert, one commit",
            how=f"median of {rounds} x {count}, {TOGETHER} callers",
        )
    ]


async def _create(store: SqlStore, count: int) -> None:
    spec = JobSpec(steps=(Step(argv=("true",)),))
    for _ in range(count):
        job = Job(job_id=new_id(), kind=JobKind.COMMAND, spec=spec, state=JobState.QUEUED, created_at=0)
        await store.jobs.create(job, queue_limit=1_000_000)


def plain_commits(path: Path, count: int) -> float:
    """Rows per second by the standard library, with the durability that the store asks for."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS job (job_id TEXT PRIMARY KEY, body TEXT)")
        stopwatch = Stopwatch()
        for _ in range(count):
            connection.execute("INSERT INTO job VALUES (?, ?)", (new_id(), "x" * 200))
        return count / stopwatch.seconds
    finally:
        connection.close()
