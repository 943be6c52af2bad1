"""The services over the real store, on both engines, with a clock that stands."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "store"))

from services_house import House, open_house
from store_databases import *  # noqa: F403
from store_house import MovingClock

from runner_service.store import SqlStore, open_store


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock()


@pytest.fixture
async def store(url: str, clock: MovingClock) -> AsyncIterator[SqlStore]:
    async with open_store(url, clock=clock) as store:
        yield store


@pytest.fixture
async def house(store: SqlStore, clock: MovingClock, tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(store, clock, tmp_path) as house:
        yield house
