"""kill -9 of server and worker in the middle of a job: nothing is lost, nothing runs twice."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from e2e_following import STDERR, STDOUT, Followed, by_grpc
from e2e_jobs import script, wait_for
from e2e_processes import processes_of
from e2e_server import ServerProcess
from e2e_until import until

from runner.v1.job_pb2 import Job
from runner_client import AsyncClient


@pytest.fixture
async def restarting(own_server: ServerProcess) -> AsyncIterator[tuple[ServerProcess, AsyncClient]]:
    own_server.start()
    async with own_server.client() as client:
        yield own_server, client


async def _kill_server(server: ServerProcess) -> None:
    await asyncio.to_thread(server.kill)


async def _restart(server: ServerProcess) -> None:
    await asyncio.to_thread(server.start)


def _counted(starts: Path, gate: Path) -> str:
    """Writes down each start, prints before and behind the gate, and exits with 9."""
    lines = "for i in $(seq {0} {1}); do echo line $i; done"
    return (
        f"echo start >> '{starts}'; {lines.format(1, 500)}; echo err >&2; {wait_for(gate)};"
        f" {lines.format(501, 1000)}; exit 9"
    )


OUTPUT = "".join(f"line {number}\n" for number in range(1, 1001)).encode()


async def test_a_job_outlives_a_killed_server_and_its_follower_goes_on(
    restarting: tuple[ServerProcess, AsyncClient], tmp_path: Path
) -> None:
    server, client = restarting
    starts, gate = tmp_path / "starts", tmp_path / "gate"
    job = await client.create_job(script(_counted(starts, gate)))
    followed = Followed()
    following = asyncio.create_task(by_grpc(client, job.job_id, followed))
    await asyncio.wait_for(followed.arrived.wait(), 60)
    worker = server.worker_pid
    await _kill_server(server)
    # It writes while there is no server at all.
    gate.touch()
    await until(lambda: not processes_of(f"{gate}' ]"), what="the end of the process")
    await _restart(server)
    await asyncio.wait_for(following, 60)
    assert followed.bytes_of(STDOUT) == OUTPUT
    assert followed.bytes_of(STDERR) == b"err\n"
    followed.check_order()
    assert followed.end["outcome"]["exitCode"] == 9
    assert followed.end["complete"] is True
    ended = await client.get_job(job.job_id)
    assert (ended.state, ended.attempts) == (Job.STATE_FAILED, 1)
    assert starts.read_text() == "start\n"
    assert server.worker_pid == worker, "the worker that lives is used"
    again = await by_grpc(client, job.job_id, Followed())
    assert again.records == followed.records


async def test_a_job_outlives_a_killed_worker_with_its_true_exit_code(
    restarting: tuple[ServerProcess, AsyncClient], tmp_path: Path
) -> None:
    server, client = restarting
    starts, gate = tmp_path / "starts", tmp_path / "gate"
    job = await client.create_job(script(_counted(starts, gate)))
    followed = Followed()
    following = asyncio.create_task(by_grpc(client, job.job_id, followed))
    await asyncio.wait_for(followed.arrived.wait(), 60)
    worker = server.worker_pid
    os.kill(worker, signal.SIGKILL)
    gate.touch()
    await asyncio.wait_for(following, 60)
    assert followed.bytes_of(STDOUT) == OUTPUT
    followed.check_order()
    assert followed.end["outcome"]["kind"] == "KIND_EXITED"
    assert followed.end["outcome"]["exitCode"] == 9
    assert followed.end["complete"] is True
    assert starts.read_text() == "start\n"
    assert server.worker_pid != worker
    assert (await client.run_and_stream(["true"], stdout=print, stderr=print)).outcome.exit_code == 0


@pytest.mark.slow
async def test_server_and_worker_killed_together(restarting: tuple[ServerProcess, AsyncClient], tmp_path: Path) -> None:
    server, client = restarting
    starts, gate = tmp_path / "starts", tmp_path / "gate"
    job = await client.create_job(script(_counted(starts, gate)))
    followed = Followed()
    following = asyncio.create_task(by_grpc(client, job.job_id, followed))
    await asyncio.wait_for(followed.arrived.wait(), 60)
    os.kill(server.worker_pid, signal.SIGKILL)
    await _kill_server(server)
    gate.touch()
    await _restart(server)
    await asyncio.wait_for(following, 60)
    assert followed.bytes_of(STDOUT) == OUTPUT
    assert followed.end["outcome"]["exitCode"] == 9
    assert starts.read_text() == "start\n"


@pytest.mark.slow
async def test_a_cancel_is_kept_through_a_killed_server(
    restarting: tuple[ServerProcess, AsyncClient], tmp_path: Path
) -> None:
    server, client = restarting
    mark = tmp_path / "mark"
    job = await client.create_job(script(f"trap '' TERM; echo up; {wait_for(mark)}"))
    async for message in client.follow(job.job_id):
        if message.records:
            break
    await client.cancel(job.job_id, reason="enough")
    await _kill_server(server)
    await _restart(server)
    ended = await asyncio.wait_for(client.wait(job.job_id), 60)
    assert ended.state == Job.STATE_CANCELLED
    assert ended.cancel.reason == "enough"
    assert not processes_of(str(mark))


async def test_a_restart_keeps_every_job_result_and_log(restarting: tuple[ServerProcess, AsyncClient]) -> None:
    server, client = restarting
    jobs = [await client.create_job(script(f"echo {number}; exit {number}"), tags={"n": "x"}) for number in range(5)]
    refused = await client.run(["no-such-program"])
    ids = [job.job_id for job in jobs] + [refused.job_id]
    before = [await asyncio.wait_for(client.wait(job_id), 60) for job_id in ids]
    logs = [await by_grpc(client, job_id, Followed()) for job_id in ids]
    assert [log.bytes_of(STDOUT) for log in logs[:5]] == [f"{number}\n".encode() for number in range(5)]
    events = [[event async for event in client.watch(job_id)] for job_id in ids]
    assert await asyncio.to_thread(server.stop) == 0
    await _restart(server)
    assert [await client.get_job(job_id) for job_id in ids] == before
    assert [(await by_grpc(client, job_id, Followed())).records for job_id in ids] == [log.records for log in logs]
    assert [[event async for event in client.watch(job_id)] for job_id in ids] == events
    assert [job.job_id async for job in client.list_jobs()] == ids[::-1]
    assert len(await client.list_runners()) == 1, "the local runner keeps its identity"
