"""kill -9 of server and worker, at moments that a seed decides, under a batch of short jobs.

Every job runs exactly once; every log is exact to the byte; a request repeated through a kill makes no second job.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path

import pytest
from e2e_following import STDERR, STDOUT, Followed, by_grpc
from e2e_jobs import script
from e2e_server import ServerProcess
from e2e_until import until

from runner.v1.job_pb2 import Job
from runner_client import AsyncClient

BATCHES = int(os.environ.get("FAULT_BATCHES", "0"))
"""Of 300 jobs, each a minute and more; `make faults` runs six."""
BATCH_SECONDS = 300.0
"""Only that it comes to an end: on a machine that is busy with other things it took two minutes."""


def _text(number: int, ran: Path) -> str:
    """Writes its number down once, and more than one record of output over some time."""
    return (
        f"echo {number} >> {ran}; echo out-{number}; echo err-{number} >&2; sleep 0.1;"
        f" seq {number} {number + 200}; exit {number % 3}"
    )


async def _strike(server: ServerProcess, client: AsyncClient, dice: random.Random, over: asyncio.Event) -> list[str]:
    """Kills one or both, again and again, until it is over; returns what it did."""
    done = []
    while not over.is_set():
        await asyncio.sleep(dice.uniform(0.1, 0.6))  # the schedule of the faults, not a wait for anything
        what = dice.choice(["server", "worker", "both"])
        done.append(what)
        if what != "server" and server.worker_pid:
            try:
                os.kill(server.worker_pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if what != "worker":
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            if dice.random() < 0.5:
                # Else on a busy machine no client would ever get through to it in the time that it has.
                await anext(client.list_jobs(), None)
    return done


async def _batch(server: ServerProcess, tmp_path: Path, *, seed: int, count: int) -> None:
    dice, ran, over = random.Random(seed), tmp_path / "ran", asyncio.Event()
    # It may be struck before it has ever answered.
    async with server.client(patience=BATCH_SECONDS, connect_patience=BATCH_SECONDS) as client:
        await until(lambda: server.worker_pid, what="the first worker")
        striking = asyncio.create_task(_strike(server, client, dice, over))

        async def one(number: int) -> tuple[int, Job, Followed]:
            job = await client.create_job(script(_text(number, ran)), request_id=f"{seed}-{number}")
            followed = await by_grpc(client, job.job_id, Followed())
            return number, await client.wait(job.job_id), followed

        try:
            async with asyncio.timeout(BATCH_SECONDS):
                results = await asyncio.gather(*(one(number) for number in range(count)))
        finally:
            over.set()
            kills = await striking
        await _check(client, results, ran, f"seed {seed}, {kills}")


async def _check(client: AsyncClient, results: list[tuple[int, Job, Followed]], ran: Path, story: str) -> None:
    lines = ran.read_text().split()
    for number, job, followed in results:
        times = lines.count(str(number))
        assert times == 1, (job, story)
        assert job.attempts == 1, story
        assert job.outcome.exit_code == number % 3, (job, story)
        out = f"out-{number}\n" + "".join(f"{line}\n" for line in range(number, number + 201))
        followed.check_order()
        assert followed.bytes_of(STDOUT) == out.encode(), story
        assert followed.bytes_of(STDERR) == f"err-{number}\n".encode(), story
        assert followed.end["complete"] is True, story
        assert (await by_grpc(client, job.job_id, Followed())).records == followed.records, story
    assert len([job async for job in client.list_jobs()]) == len(results), story


@pytest.mark.slow
async def test_fifty_jobs_run_once_each_through_kills(faulty: ServerProcess, tmp_path: Path) -> None:
    await _batch(faulty, tmp_path, seed=1, count=50)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", range(2, 2 + BATCHES))
async def test_three_hundred_jobs_run_once_each_through_kills(faulty: ServerProcess, tmp_path: Path, seed: int) -> None:
    await _batch(faulty, tmp_path, seed=seed, count=300)
