"""A real server in a process of its own, its client, and the command line."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from e2e_command_line import CommandLine
from e2e_server import ServerProcess

from runner_client import AsyncClient


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server for all tests of a module: do not stop it, and leave no job behind."""
    process = ServerProcess(tmp_path_factory.mktemp("server"))
    process.start()
    yield process
    # Shown with a test that fails.
    sys.stderr.write(process.errors)
    process.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server, not yet started, that the test may do with as it likes."""
    process = ServerProcess(tmp_path)
    yield process
    # Shown with a test that fails.
    sys.stderr.write(process.errors)
    process.close()


@pytest.fixture
async def client(server: ServerProcess) -> AsyncIterator[AsyncClient]:
    async with server.client() as made:
        yield made


@pytest.fixture
async def http(server: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.http, timeout=90, trust_env=False) as made:
        yield made


@pytest.fixture
def command_line() -> Iterator[Callable[[ServerProcess], CommandLine]]:
    """Makes the command line of a server."""
    made: list[CommandLine] = []

    def make(server: ServerProcess) -> CommandLine:
        made.append(CommandLine(server))
        return made[-1]

    yield make
    for one in made:
        one.close()
