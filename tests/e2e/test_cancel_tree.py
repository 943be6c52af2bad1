"""Kill means empty: no process of a cancelled or timed out job survives."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from e2e_following import STDOUT, Followed, by_grpc
from e2e_jobs import script
from e2e_processes import processes_of
from e2e_server import ServerProcess
from e2e_until import until

from runner.v1.job_pb2 import Job
from runner_client import AsyncClient

GRANDCHILDREN = """
import os, signal, sys, time
def stubborn():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            stubborn()
            os.closerange(0, 3)
            while True: time.sleep(1)
        os._exit(0)
stubborn()
print("up", flush=True)
while len(sys.argv) > 2: time.sleep(1)
"""


async def _up(client: AsyncClient, argv: list[str], **options: object) -> str:
    command = await client.run(argv, **options)  # type: ignore[arg-type]
    async for message in client.follow(command.job_id):
        if message.records:
            break
    return command.job_id


async def test_a_cancel_leaves_no_double_forked_grandchild(
    server: ServerProcess, client: AsyncClient, tmp_path: Path
) -> None:
    mark = f"mark-{tmp_path.name}"
    job_id = await _up(client, [sys.executable, "-I", "-S", "-c", GRANDCHILDREN, mark, "stay"])
    await until(lambda: len(processes_of(mark)) == 4, what="one process and its three grandchildren")
    await client.cancel(job_id)
    job = await asyncio.wait_for(client.wait(job_id), 60)
    assert not processes_of(mark), "none is left once the job says that it has ended"
    assert job.state == Job.STATE_CANCELLED
    assert job.outcome.survivors == 0


@pytest.mark.slow
async def test_a_timeout_leaves_none_either(server: ServerProcess, client: AsyncClient, tmp_path: Path) -> None:
    mark = f"mark-{tmp_path.name}"
    job_id = await _up(client, [sys.executable, "-I", "-S", "-c", GRANDCHILDREN, mark, "stay"], timeout=4.0)
    job = await asyncio.wait_for(client.wait(job_id), 60)
    assert not processes_of(mark)
    assert job.state == Job.STATE_TIMED_OUT
    assert job.outcome.survivors == 0


async def test_a_normal_exit_leaves_none_and_is_not_held_up(
    server: ServerProcess, client: AsyncClient, tmp_path: Path
) -> None:
    mark = f"mark-{tmp_path.name}"
    job_id = await _up(client, [sys.executable, "-I", "-S", "-c", GRANDCHILDREN, mark])
    job = await asyncio.wait_for(client.wait(job_id), 60)
    assert job.state == Job.STATE_SUCCEEDED
    assert not processes_of(mark)


async def test_term_is_tried_first(server: ServerProcess, client: AsyncClient, tmp_path: Path) -> None:
    wrote = tmp_path / "wrote"
    text = f"trap 'echo bye; touch {wrote}; exit 0' TERM; echo up; while true; do sleep 0.02; done"
    spec = script(text)
    spec.kill_grace.seconds = 60
    job_id = (await client.create_job(spec)).job_id
    async for message in client.follow(job_id):
        if message.records:
            break
    await client.cancel(job_id, reason="that will do")
    job = await asyncio.wait_for(client.wait(job_id), 60)
    assert wrote.exists()
    # The exit code 0 that followed changes nothing.
    assert job.state == Job.STATE_CANCELLED
    assert job.outcome.kind == job.outcome.KIND_CANCELLED
    assert job.cancel.reason == "that will do"
    # The shell itself says on standard error that its child was terminated.
    assert (await by_grpc(client, job_id, Followed())).bytes_of(STDOUT) == b"up\nbye\n"


async def test_a_cancelled_queued_job_never_runs(server: ServerProcess, client: AsyncClient, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    command = await client.run(["touch", str(ran)], required_labels={"no": "runner"})
    job = await client.cancel(command.job_id)
    assert job.state == Job.STATE_CANCELLED
    assert job.attempts == 0
    assert (await client.run_and_stream(["true"], stdout=print, stderr=print)).outcome.exit_code == 0
    assert not ran.exists()
