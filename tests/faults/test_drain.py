"""Draining, and a rolling restart of everything under load: no job fails, none runs twice, none is lost."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from e2e_jobs import script
from e2e_server import RUNNER, environment_of
from faults_house import House, Machine, until
from faults_zygote import Zygote

from runner.v1.job_pb2 import Job
from runner.v1.runner_pb2 import Runner
from runner_client import AsyncClient


@pytest.fixture
async def house(tmp_path: Path, zygote: Zygote) -> AsyncIterator[House]:
    made = House(tmp_path, zygote)
    await made.start()
    yield made
    sys.stderr.write(made.errors[-20_000:])
    await made.close()


async def runner(house: House, *words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        str(RUNNER),
        *words,
        env=environment_of(RUNNER_SERVER=house.front.address),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def _states(client: AsyncClient) -> dict[str, Runner.State.ValueType]:
    return {one.name: one.state for one in await client.list_runners()}


async def _two_machines(client: AsyncClient) -> None:
    async with asyncio.timeout(60):
        while list((await _states(client)).values()) != [Runner.STATE_ACTIVE] * 2:
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_a_drained_machine_ends_what_it_has_and_takes_no_more(house: House, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    here = {"machine": "machine0"}
    async with house.client() as client:
        await _two_machines(client)
        running = await client.create_job(script(f"while [ ! -e {gate} ]; do sleep 0.02; done; echo done", labels=here))
        async with asyncio.timeout(60):
            while (await client.get_job(running.job_id)).state != Job.STATE_RUNNING:
                await asyncio.sleep(0.02)
        code, out, err = await runner(house, "drain", "machine0", "--reason", "new disk")
        assert (code, out.strip(), err) == (0, (await client.get_job(running.job_id)).runner_id, "")
        waiting = await client.create_job(script("echo late", labels=here))
        elsewhere = await client.create_job(script("true"))
        assert (await client.wait(elsewhere.job_id)).state == Job.STATE_SUCCEEDED
        found = await client.get_job(waiting.job_id)
        assert found.state == Job.STATE_QUEUED
        assert found.waiting == "the runners that fit take no work now: machine0 is draining"
        gate.touch()
        assert (await client.wait(running.job_id)).state == Job.STATE_SUCCEEDED
        code, _, err = await runner(house, "drain", "machine0", "--wait")
        assert (code, err) == (0, "")
        assert (await _states(client))["machine0"] == Runner.STATE_INACTIVE
        assert "machine0 is stopped" in (await client.get_job(waiting.job_id)).waiting
        assert (await runner(house, "drain", "machine0", "--undo"))[0] == 0
        assert (await client.wait(waiting.job_id)).state == Job.STATE_SUCCEEDED
        code, _, err = await runner(house, "drain", "machine7")
        assert code == 1 and "no runner is called machine7" in err


@pytest.mark.slow
async def test_a_rolling_restart_under_load_fails_no_job(house: House, tmp_path: Path) -> None:
    ran, over = tmp_path / "ran", asyncio.Event()
    async with house.client() as client:
        await _two_machines(client)
        made: list[Job] = []

        async def load() -> None:
            while not over.is_set():
                number = len(made)
                made.append(await client.create_job(script(f"echo {number} >> {ran}; sleep 0.1; seq 100; exit 0")))
                await asyncio.sleep(0.03)  # the pace of the load

        loading = asyncio.create_task(load())
        try:
            for machine in house.machines:
                await _restart_machine(house, client, machine)
                await _restart_server(house)
        finally:
            over.set()
            await loading
        async with asyncio.timeout(60):
            ended = [await client.wait(job.job_id) for job in made]
        assert Counter(Job.State.Name(job.state) for job in ended) == {"STATE_SUCCEEDED": len(made)}
        assert {job.attempts for job in ended} == {1}
        assert Counter(ran.read_text().split()) == {str(number): 1 for number in range(len(made))}
        assert len(made) > 20


async def _restart_machine(house: House, client: AsyncClient, machine: Machine) -> None:
    """As for an upgrade: the worker goes when it is drained, and another one comes."""
    code, _, err = await runner(house, "drain", machine.name, "--wait")
    assert (code, err) == (0, "")
    before = machine.worker
    assert before is not None
    before.signal(signal.SIGTERM)
    await before.ended(90)
    await until(lambda: machine.worker is not before and machine.worker is not None, what="another worker")
    assert (await runner(house, "drain", machine.name, "--undo"))[0] == 0
    await _two_machines(client)


async def _restart_server(house: House) -> None:
    """SIGTERM, as an init system would: it refuses new work, and its successor takes it."""
    before, starts = house.server, house.starts
    assert before is not None
    before.signal(signal.SIGTERM)
    await before.ended(90)
    await until(lambda: house.starts > starts and bool(house.front.targets), what="another server")
