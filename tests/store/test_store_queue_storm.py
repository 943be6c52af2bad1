"""Fifty agents over ten thousand jobs: each job goes to one of them, once, in order."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from queue_house import new_queue_job, pop
from store_house import Opener

from runner_service.domain.jobs import JobState
from runner_service.store import SqlStore

JOBS = 10_000
AGENTS = 50


@pytest.mark.slow
async def test_fifty_agents_over_ten_thousand_jobs_get_each_once(store: SqlStore, reopen: Opener) -> None:
    async with reopen() as other:
        # On PostgreSQL as two servers; SQLite has one.
        servers = (store, other) if store.shared else (store, store)
        for first in range(0, JOBS, 500):
            new = [new_queue_job(f"q{number % 7}") for number in range(first, first + 500)]
            await asyncio.gather(*(store.queues.push(one, queue_limit=JOBS) for one in new))
        got: Counter[str] = Counter()
        orders: dict[str, list[str]] = {}

        async def agent(number: int) -> None:
            name, at = f"agent-{number}", servers[number % 2]
            queues = [f"q{(number + step) % 7}" for step in range(5)]
            while job_id := await pop(at, *queues, agent=name):
                got[job_id] += 1
                orders.setdefault(name, []).append(job_id)
                if sum(got.values()) % 10 == 0:
                    await at.queues.post_result(job_id, {"test_status": "0"}, word="complete")

        await asyncio.gather(*(agent(number) for number in range(AGENTS)))
        assert len(got) == JOBS and set(got.values()) == {1}
        counts = await store.jobs.count()
        assert counts.get(JobState.QUEUED, 0) == 0 and sum(counts.values()) == JOBS
        if not store.shared:
            # First in, first out: ids sort by age, and an agent's pops come in order.
            assert all(order == sorted(order) for order in orders.values() if len({*order}) > 1)
