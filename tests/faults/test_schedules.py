"""Schedules of faults that seeds decide: nothing lost, nothing twice, nothing left.

``FAULT_SCHEDULES`` says how many; `make faults` runs 1,000 and prints the table.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from faults_house import House, processes_with
from faults_schedule import Schedule
from faults_tally import TALLIES, Tally
from faults_zygote import Zygote

SCHEDULES = int(os.environ.get("FAULT_SCHEDULES", "3"))
FIRST = int(os.environ.get("FAULT_FIRST_SEED", "1"))
PER_HOUSE = 25


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    made = Zygote()
    yield made
    made.close()


@pytest.fixture(scope="module")
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    made = Tally()
    yield made
    request.config.stash[TALLIES](made)


@pytest.fixture
async def house(tmp_path: Path, zygote: Zygote) -> AsyncIterator[House]:
    made = House(tmp_path, zygote)
    await made.start()
    yield made
    sys.stderr.write(made.errors[-20_000:])
    await made.close()
    assert processes_with(str(tmp_path)) == []


@pytest.mark.parametrize("first", range(FIRST, FIRST + SCHEDULES, PER_HOUSE))
async def test_schedules_lose_nothing_and_run_nothing_twice(house: House, tally: Tally, first: int) -> None:
    for seed in range(first, min(first + PER_HOUSE, FIRST + SCHEDULES)):
        await Schedule(house, seed, tally).run()
