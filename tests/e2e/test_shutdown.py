"""How a server stops: drained, hurried, or leaving its jobs alone."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import httpx
from e2e_following import STDOUT, Followed, by_grpc
from e2e_jobs import script, wait_for
from e2e_processes import end_processes_of, processes_of
from e2e_server import ServerProcess
from e2e_until import until

from runner.v1.job_pb2 import Job
from runner.v1.outcome_pb2 import Outcome
from runner_client import AsyncClient, Unavailable


async def _started(client: AsyncClient, job: Job) -> None:
    async for message in client.follow(job.job_id):
        if message.records:
            return


async def _stop(server: ServerProcess) -> int:
    return await asyncio.to_thread(server.stop)


async def test_term_cancels_what_outlasts_the_grace_and_keeps_the_queue(
    own_server: ServerProcess, tmp_path: Path
) -> None:
    server, gate = own_server, tmp_path / "gate"
    server.settings["executor"]["max_concurrent_jobs"] = 1
    server.start()
    async with server.client() as client:
        stuck = await client.create_job(script(f"trap '' TERM; echo up; {wait_for(gate)}"))
        await _started(client, stuck)
        queued = [await client.create_job(script(f"echo {number}")) for number in range(3)]
    assert await _stop(server) == 0
    assert not processes_of(str(gate))
    assert not processes_of(str(server.data_dir))
    server.start()
    async with server.client() as client:
        ended = await client.get_job(stuck.job_id)
        assert ended.state == Job.STATE_CANCELLED
        assert (ended.outcome.kind, ended.outcome.detail) == (Outcome.KIND_CANCELLED, "shutdown")
        log = await by_grpc(client, stuck.job_id, Followed())
        assert log.bytes_of(STDOUT) == b"up\n"
        assert log.end["complete"] is True
        for number, job in enumerate(queued):
            assert (await asyncio.wait_for(client.wait(job.job_id), 60)).state == Job.STATE_SUCCEEDED
            assert (await by_grpc(client, job.job_id, Followed())).bytes_of(STDOUT) == f"{number}\n".encode()


async def test_term_lets_a_job_end_within_the_grace(own_server: ServerProcess, tmp_path: Path) -> None:
    server, gate = own_server, tmp_path / "gate"
    server.settings["server"]["shutdown_grace_seconds"] = 600
    server.start()
    async with server.client() as client:
        job = await client.create_job(script(f"echo up; {wait_for(gate)}; echo done"))
        await _started(client, job)
        followed = Followed()
        following = asyncio.create_task(by_grpc(client, job.job_id, followed))
        server.signal(signal.SIGTERM)
        await until(lambda: _refuses(server), what="the refusal of new jobs")
        gate.touch()
        # Whoever follows gets the end before the server goes.
        await asyncio.wait_for(following, 60)
        assert followed.bytes_of(STDOUT) == b"up\ndone\n"
        assert followed.end["state"] == "STATE_SUCCEEDED"
        assert await asyncio.to_thread(server.wait) == 0


async def test_a_second_term_hurries(own_server: ServerProcess, tmp_path: Path) -> None:
    server, gate = own_server, tmp_path / "gate"
    server.settings["server"]["shutdown_grace_seconds"] = 600
    server.start()
    async with server.client() as client:
        job = await client.create_job(script(f"echo up; {wait_for(gate)}"))
        await _started(client, job)
    server.signal(signal.SIGTERM)

    await until(lambda: _refuses(server), what="the refusal of new jobs")
    async with httpx.AsyncClient(base_url=server.http, timeout=60, trust_env=False) as probe:
        ready, alive = await probe.get("/readyz"), await probe.get("/health")
        assert (ready.status_code, ready.json(), alive.status_code) == (503, {"status": "NOT_SERVING"}, 200)
    server.signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.wait) == 0
    assert not processes_of(str(gate))
    server.start()
    async with server.client() as client:
        ended = await client.get_job(job.job_id)
        assert ended.state == Job.STATE_CANCELLED
        assert ended.outcome.detail == "shutdown"


async def _refuses(server: ServerProcess) -> bool:
    async with server.client(patience=0.1, connect_patience=0.1) as client:
        try:
            await client.create_job(script("echo late"))
        except Unavailable as error:
            return error.reason == "SERVER_STOPPING"
    return False


async def test_keep_jobs_leaves_them_to_the_next_server(own_server: ServerProcess, tmp_path: Path) -> None:
    server, gate, starts = own_server, tmp_path / "gate", tmp_path / "starts"
    server.start("--keep-jobs")
    async with server.client() as client:
        job = await client.create_job(script(f"echo x >> {starts}; echo up; {wait_for(gate)}; echo done; exit 5"))
        await _started(client, job)
        worker = server.worker_pid
    assert await _stop(server) == 0
    assert processes_of(str(gate)), "it runs without a server"
    gate.touch()
    server.start()
    async with server.client() as client:
        ended = await asyncio.wait_for(client.wait(job.job_id), 60)
        assert (ended.outcome.exit_code, ended.attempts) == (5, 1)
        assert (await by_grpc(client, job.job_id, Followed())).bytes_of(STDOUT) == b"up\ndone\n"
    assert starts.read_text() == "x\n"
    assert server.worker_pid == worker


async def test_jobs_without_a_worker_are_ended_too(own_server: ServerProcess, tmp_path: Path) -> None:
    """Told to stop while the worker is dead, or not yet up again, the server leaves neither jobs nor supervisor."""
    server, gate = own_server, tmp_path / "gate"
    server.start()
    async with server.client() as client:
        job = await client.create_job(script(f"echo up; {wait_for(gate)}"))
        await _started(client, job)
    os.kill(server.worker_pid, signal.SIGKILL)
    server.signal(signal.SIGTERM)
    server.signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.wait) == 0
    assert not processes_of(str(gate))
    assert not processes_of(str(server.data_dir))
    server.start()
    async with server.client() as client:
        ended = await asyncio.wait_for(client.wait(job.job_id), 60)
        assert ended.state == Job.STATE_CANCELLED
        assert ended.attempts == 1


async def test_a_hurry_does_not_wait_for_the_grace_of_a_job(own_server: ServerProcess, tmp_path: Path) -> None:
    server, gate = own_server, tmp_path / "gate"
    server.settings["executor"]["kill_grace_seconds"] = 300
    server.start()
    async with server.client() as client:
        job = await client.create_job(script(f"trap '' TERM; echo up; {wait_for(gate)}"))
        await _started(client, job)
    server.signal(signal.SIGTERM)
    await until(lambda: _refuses(server), what="the refusal of new jobs")
    server.signal(signal.SIGTERM)
    try:
        assert await asyncio.to_thread(server.wait) == 0
        assert not processes_of(str(gate))
    finally:
        end_processes_of(str(server.data_dir), seconds=0)
