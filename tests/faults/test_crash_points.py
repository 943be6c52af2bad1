"""kill -9 at every named point of every commit path, one after the other: what was promised still holds."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from faults_house import House, until
from faults_schedule import Schedule
from faults_tally import Tally
from faults_zygote import Crash, Zygote

from runner_service.domain import crashpoints

KINDS = ("plain", "halves", "endless", "retried")


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    made = Zygote()
    yield made
    made.close()


@pytest.fixture
async def house(tmp_path: Path, zygote: Zygote) -> AsyncIterator[House]:
    made = House(tmp_path, zygote, machines=1, slots=8)
    await made.start()
    yield made
    sys.stderr.write(made.errors[-20_000:])
    await made.close()


@pytest.mark.slow
async def test_a_server_that_crashes_anywhere_loses_nothing(house: House) -> None:
    for seed, name in enumerate(crashpoints.SERVER, 1):
        house.arm(name)
        await house.kill_server()
        before = house.starts
        schedule = Schedule(house, seed, Tally())
        await schedule.run(*KINDS, faults=False)
        assert house.starts >= before + 2, f"{name} was not passed"


@pytest.mark.slow
async def test_a_worker_that_crashes_anywhere_loses_nothing(house: House) -> None:
    (machine,) = house.machines
    for seed, name in enumerate(crashpoints.WORKER, 1):
        machine.crash = Crash(name)
        await house.kill_worker(machine)
        await until(lambda: machine.worker is not None and machine.worker.alive, what="the armed worker")
        armed = machine.worker
        await Schedule(house, seed, Tally()).run(*KINDS, faults=False)
        assert machine.worker is not armed, f"{name} was not passed"


@pytest.mark.slow
async def test_a_supervisor_that_crashes_anywhere_takes_its_jobs_along_and_says_so(house: House) -> None:
    (machine,) = house.machines
    for seed, name in enumerate(crashpoints.SUPERVISOR, 1):
        supervisor = await house.start_supervisor(machine, Crash(name))
        schedule = Schedule(house, seed, Tally())
        schedule.supervisor_died = True
        await schedule.run(*KINDS, faults=False)
        assert not supervisor.alive, f"{name} was not passed"
