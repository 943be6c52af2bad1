"""A machine whose clock is days off: leases, stops of its own accord and stamps hold, for no clocks are compared."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from e2e_command_line import CommandLine
from e2e_jobs import script, wait_for
from e2e_processes import end_processes_of
from e2e_server import ServerProcess
from e2e_until import until

from runner.v1.job_pb2 import Job, LossPolicy
from runner.v1.outcome_pb2 import Outcome
from runner_client import AsyncClient

pytestmark = pytest.mark.slow

LEASE_SECONDS = 3.0


def library() -> str:
    found = sorted(Path("/usr/lib").glob("**/faketime/libfaketimeMT.so.1"))
    if not found:
        pytest.skip("this needs faketime")
    return str(found[0])


async def first_words(client: AsyncClient, job: Job) -> None:
    async for message in client.follow(job.job_id):
        if message.records:
            return


@pytest.mark.parametrize("offset", ["-3d", "+3d"])
async def test_a_worker_whose_clock_is_days_off(own_server: ServerProcess, tmp_path: Path, offset: str) -> None:
    own_server.settings["dispatch"] = {"lease_seconds": LEASE_SECONDS, "park_idle_seconds": 1, "park_busy_seconds": 1}
    own_server.start("--no-local-runner")
    elsewhere = CommandLine(own_server)
    home, gate, ran, lock = (tmp_path / name for name in ("home", "gate", "ran", "lock"))
    clock = {"LD_PRELOAD": library(), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    try:
        elsewhere.start("join", "--server", own_server.grpc, "--data-dir", str(home), "--slots", "2", env=clock)
        async with own_server.client() as client, asyncio.timeout(180):
            kept = await client.create_job(script(f"echo up; {wait_for(gate)}; echo end; exit 3"))
            held = f"mkdir {lock} || exit 9; trap 'rmdir {lock}; exit 8' TERM; echo run >> {ran}; echo up"
            once = script(f"{held}; {wait_for(gate)}; rmdir {lock}")
            once.kill_grace.seconds = 9
            once.loss.kind, once.loss.idempotent, once.retry.max_attempts = LossPolicy.KIND_RETRY, True, 5
            again = await client.create_job(once)
            await asyncio.gather(first_words(client, kept), first_words(client, again))
            await asyncio.to_thread(own_server.kill)
            # With no server there is nobody to ask: it stops by itself, before anybody could give it to another.
            await until(lambda: not lock.exists(), what="its stop of its own accord")
            await asyncio.to_thread(own_server.start, "--no-local-runner")
            await until(lambda: len(ran.read_text().split()) == 2, what="its second run")
            gate.touch()
            ended = [await client.wait(job.job_id) for job in (kept, again)]
            assert (ended[0].outcome.exit_code, ended[0].attempts) == (3, 1)
            assert (ended[1].state, ended[1].attempts) == (Job.STATE_SUCCEEDED, 2)
            [first, _] = await client.list_attempts(again.job_id)
            assert (first.outcome.kind, first.outcome.detail) == (Outcome.KIND_LOST, "self_stop")
            for job in ended:
                assert job.create_time.seconds <= job.start_time.seconds <= job.finish_time.seconds <= time.time()
    finally:
        for process in elsewhere._started:
            process.terminate()
            await asyncio.to_thread(process.wait, 90)
        elsewhere.close()
        assert not end_processes_of(str(home))
