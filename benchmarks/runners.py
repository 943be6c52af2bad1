"""Ten thousand runners and a month of metrics: lists and series over HTTP, beside the smallest answer of that API."""

from __future__ import annotations

import asyncio
import random
import time

import httpx

from benchmarks.figures import Stopwatch, percentile
from benchmarks.report import Row
from benchmarks.server import serve
from runner_service.domain.ids import new_id
from runner_service.domain.metrics import KEPT_SECONDS, Bucket
from runner_service.domain.runners import Runner, RunnerKind, RunnerProfile, RunnerState
from runner_service.store import SqlStore, open_store

RUNNERS = 10_000
TOGETHER = 500
ASKED = {
    "first page": "?limit=50",
    "page behind 9,900": "?limit=50&offset=9900",
    "active, docker": "?status=active&type=docker",
    "a tag of all": "?tags=x86",
    "two tags, each of half": "?tags=production,metal",
    "two tags, type and status": "?tags=production,metal&type=docker&status=active",
    "metrics 24h by 5m": "/{id}/metrics?period=24h&resolution=5m",
    "metrics 7d by 5m": "/{id}/metrics?period=7d&resolution=5m",
    "metrics 30d by 1h": "/{id}/metrics?period=30d&resolution=1h",
    "metrics 30d by 1m": "/{id}/metrics?period=30d&resolution=1m",
}


async def measure(quick: bool) -> list[Row]:
    """Medians of one call at a time."""
    rounds = 15 if quick else 60
    with serve() as server:
        async with open_store(f"sqlite:///{server.data_dir}/runner.db") as store:
            runner_id = await _fill(store)
        async with httpx.AsyncClient(base_url=f"http://{server.http}/api/runners", trust_env=False) as client:
            least = await _median(client, "?limit=1&type=local", rounds)
            return [
                Row(
                    what=f"runners: {what}",
                    ours=await _median(client, path.format(id=f"runner_{runner_id}"), rounds),
                    unit="ms",
                    baseline=least,
                    against="a page of one runner",
                    how=f"median of {rounds}, {RUNNERS:,} runners",
                )
                for what, path in ASKED.items()
            ]


async def _median(client: httpx.AsyncClient, path: str, rounds: int) -> float:
    took = []
    for _ in range(rounds):
        watch = Stopwatch()
        reply = await client.get(path)
        took.append(watch.seconds * 1000)
        reply.raise_for_status()
    return percentile(took, 0.5)


async def _fill(store: SqlStore) -> str:
    """Runners with three tags each; the id of one that has been measured for a month."""
    ids = [new_id() for _ in range(RUNNERS)]
    for first in range(0, RUNNERS, TOGETHER):
        await asyncio.gather(*(_register(store, ids[number], number) for number in range(first, first + TOGETHER)))
    now, dice = int(time.time()), random.Random(1)
    for width, kept in KEPT_SECONDS.items():
        starts = range((now - kept) // width * width + width, now, width)
        await store.samples.add(
            [
                Bucket(ids[-1], width, start, 4, dice.uniform(0, 400), 100.0, dice.uniform(0, 400), 100.0, 99.0, 4.0)
                for start in starts
            ]
        )
    return ids[-1]


async def _register(store: SqlStore, runner_id: str, number: int) -> None:
    tags = ("x86", ("production", "staging")[number % 2], ("metal", "virtual")[number // 2 % 2])
    runner = Runner(
        runner_id=runner_id,
        name=f"runner-{number}",
        state=RunnerState.INACTIVE if number % 10 == 0 else RunnerState.ACTIVE,
        registered_at=0,
        kind=tuple(RunnerKind)[number // 4 % len(RunnerKind)],
    )
    profile = RunnerProfile(runner_id=runner_id, tags=tags)
    await store.runners.register_once(runner, profile, digest=b"", life_seconds=0, mark=None, note="")
