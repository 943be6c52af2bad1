"""The scripted server, a client of it, and the command line as a process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from command_line import CommandLine
from scripted_server import ScriptedServer

from runner_client import AsyncClient


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    scripted = ScriptedServer()
    await scripted.start()
    yield scripted
    await scripted.stop()


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server.target, token="key-1", patience=20.0) as made:
        yield made


@pytest.fixture
async def runner(server: ScriptedServer) -> AsyncIterator[CommandLine]:
    command_line = CommandLine(server)
    yield command_line
    for process in command_line.started:
        if process.returncode is None:
            process.kill()
            await process.wait()
