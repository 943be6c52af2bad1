"""The queue: bounded, in order, by label; and runners that join."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from e2e_command_line import CommandLine
from e2e_jobs import script, wait_for
from e2e_processes import end_processes_of, processes_of
from e2e_server import ServerProcess
from e2e_until import until

from runner.v1.job_pb2 import Job
from runner_client import ResourceExhausted


async def test_beyond_the_bound_jobs_are_refused_and_nothing_is_stored(own_server: ServerProcess) -> None:
    own_server.settings["executor"]["max_queued_jobs"] = 3
    own_server.start("--no-local-runner")
    async with (
        own_server.client() as client,
        httpx.AsyncClient(base_url=own_server.http, timeout=60, trust_env=False) as http,
    ):
        kept = [await client.create_job(script("true")) for _ in range(3)]
        with pytest.raises(ResourceExhausted) as refused:
            await client.create_job(script("true"))
        assert refused.value.reason == "QUEUE_FULL"
        assert "3" in str(refused.value)
        reply = await http.post("/api/v2/commands", json={"argv": ["true"]})
        assert reply.status_code == 429
        assert int(reply.headers["retry-after"]) >= 1
        assert reply.json()["details"][0]["reason"] == "QUEUE_FULL"
        assert [job.job_id async for job in client.list_jobs()] == [job.job_id for job in kept[::-1]]
        # A queued job that is cancelled makes room.
        await client.cancel(kept[0].job_id)
        await client.create_job(script("true"))


async def test_the_limit_holds_and_the_order_is_priority_then_age(own_server: ServerProcess, tmp_path: Path) -> None:
    own_server.settings["executor"]["max_concurrent_jobs"] = 2
    own_server.start()
    gate = tmp_path / "gate"
    async with own_server.client() as client:
        blockers = [await client.create_job(script(f"echo up; {wait_for(gate)}")) for _ in range(2)]

        async def both_run() -> bool:
            return all([(await client.get_job(job.job_id)).state == Job.STATE_RUNNING for job in blockers])

        await until(both_run, what="two running jobs")
        asked = [0, 5, 0, 5, -3, 9]
        waiting = [await client.create_job(script("true"), priority=priority) for priority in asked]
        assert [(await client.get_job(job.job_id)).state for job in waiting] == [Job.STATE_QUEUED] * 6
        whys = [(await client.get_job(job.job_id)).waiting for job in waiting]
        assert all(why.startswith("all 2 slots of the runners that fit are taken: ") for why in whys)
        assert "stand before it" not in whys[5]
        assert whys[4].endswith("; 5 jobs stand before it")
        gate.touch()
        ended = [await asyncio.wait_for(client.wait(job.job_id), 60) for job in waiting]
        # Times are stamped by the store: both that were confirmed in one beat have the same.
        started = sorted(ended, key=lambda job: (job.start_time.ToNanoseconds(), -job.priority, job.job_id))
        assert [job.job_id for job in started] == [waiting[index].job_id for index in (5, 1, 3, 0, 2, 4)]


@pytest.mark.slow
async def test_no_more_than_the_limit_run_at_one_time(own_server: ServerProcess, tmp_path: Path) -> None:
    own_server.settings["executor"]["max_concurrent_jobs"] = 3
    own_server.start()
    text = f"mkdir {tmp_path}/on-$$; set -- {tmp_path}/on-*; echo $#; sleep 0.1; rmdir {tmp_path}/on-$$"
    async with own_server.client() as client:
        jobs = [await client.create_job(script(text)) for _ in range(12)]
        counts = []
        for job in jobs:
            parts = [part async for part in client.follow(job.job_id)]
            counts.append(int(b"".join(record.data for part in parts for record in part.records)))
    assert max(counts) <= 3
    assert max(counts) > 1


async def test_a_joined_worker_takes_the_jobs_that_need_its_label(server: ServerProcess, tmp_path: Path) -> None:
    joined = CommandLine(server)
    home = tmp_path / "joined"
    try:
        async with server.client() as client:
            needs = {"gpu": "big"}
            job = await client.create_job(script("echo there", labels=needs))
            assert (await client.get_job(job.job_id)).state == Job.STATE_QUEUED
            process = joined.start(
                "join", "--server", server.grpc, "--data-dir", str(home), "--name", "second", "--label", "gpu=big"
            )
            ended = await asyncio.wait_for(client.wait(job.job_id), 60)
            assert ended.state == Job.STATE_SUCCEEDED

            async def both() -> bool:
                return len(await client.list_runners()) == 2

            await until(both, what="the local runner, which may be the slower one")
            runners = {runner.runner_id: runner for runner in await client.list_runners()}
            assert runners[ended.runner_id].name == "second"
            assert runners[ended.runner_id].labels["gpu"] == "big"
            assert not runners[ended.runner_id].local
            assert runners[ended.runner_id].online
            # SIGTERM ends it and its jobs, and it leaves nothing.
            stuck = await client.create_job(script("echo up; sleep 1000", labels=needs))
            async for message in client.follow(stuck.job_id):
                if message.records:
                    break
            process.terminate()
            assert await asyncio.to_thread(process.wait, 90) == 0
            assert not processes_of(str(home))
            ended = await asyncio.wait_for(client.wait(stuck.job_id), 60)
            assert ended.state in (Job.STATE_CANCELLED, Job.STATE_LOST)
            # The identity is kept: joined again, it is the same runner.
            again = await client.create_job(script("echo again", labels=needs))
            process = joined.start(
                "join", "--server", server.grpc, "--data-dir", str(home), "--name", "second", "--label", "gpu=big"
            )
            await asyncio.wait_for(client.wait(again.job_id), 60)
            assert len(await client.list_runners()) == 2
            process.terminate()
            assert await asyncio.to_thread(process.wait, 90) == 0
    finally:
        joined.close()
        assert not end_processes_of(str(home))


@pytest.mark.slow
async def test_a_joined_worker_that_is_killed_is_adopted_by_the_next(server: ServerProcess, tmp_path: Path) -> None:
    joined = CommandLine(server)
    home, gate = tmp_path / "joined", tmp_path / "gate"
    arguments = ("join", "--server", server.grpc, "--data-dir", str(home), "--label", "disk=fast")
    try:
        async with server.client() as client:
            job = await client.create_job(script(f"echo up; {wait_for(gate)}; exit 4", labels={"disk": "fast"}))
            process = joined.start(*arguments)
            async for message in client.follow(job.job_id):
                if message.records:
                    break
            process.kill()
            await asyncio.to_thread(process.wait, 90)
            gate.touch()
            process = joined.start(*arguments)
            ended = await asyncio.wait_for(client.wait(job.job_id), 60)
            assert (ended.outcome.exit_code, ended.attempts) == (4, 1)
            process.terminate()
            assert await asyncio.to_thread(process.wait, 90) == 0
    finally:
        joined.close()
        assert not end_processes_of(str(home))
