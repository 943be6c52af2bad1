"""Every test of the contract runs on both engines; PostgreSQL is real, and its absence is said aloud."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from store_databases import *  # noqa: F403
from store_house import MovingClock, Opener

from runner_service.store import SqlStore, open_store


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock()


@pytest.fixture
def reopen(url: str, clock: MovingClock) -> Opener:
    """Opens the test's database, as often as it likes."""

    @asynccontextmanager
    async def opened(**options: Any) -> AsyncIterator[SqlStore]:
        async with open_store(url, **{"clock": clock, **options}) as store:
            yield store

    return opened


@pytest.fixture
async def store(reopen: Opener) -> AsyncIterator[SqlStore]:
    async with reopen() as store:
        yield store
