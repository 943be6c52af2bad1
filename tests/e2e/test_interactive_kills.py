"""Terminals of which everything is killed while several type: server, worker, client, connection. Not a byte is lost or
comes twice, over gRPC and over the WebSocket."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from e2e_server import ServerProcess
from e2e_until import until
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from runner_client import AsyncClient
from runner_client.exec import ExecSession

pytestmark = pytest.mark.slow

RAW_CAT = ("sh", "-c", "stty raw -echo; echo ready; exec cat")
READY = b"ready\n"
PATIENCE = 150.0
Faults = Callable[[int], Awaitable[None]]


def typed_by(first: int) -> bytes:
    """What a writer gives: noise of 128 bytes that no other writer uses, from ``first`` on."""
    return bytes(first + number for number in random.Random(first).choices(range(128), k=150_000))


def check(got: bytes, *writers: bytes) -> None:
    """Everything of each came once and in its order."""
    assert got.startswith(READY)
    got = got.removeprefix(READY)
    assert len(got) == sum(map(len, writers))
    for given in writers:
        own = frozenset(given)
        assert bytes(byte for byte in got if byte in own) == given


class Killer:
    """Kills what it is told to, when the output has come so far."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self.killed: list[str] = []

    async def server(self) -> None:
        await asyncio.to_thread(self._server.kill)
        await asyncio.to_thread(self._server.start)
        self.killed.append("server")

    async def worker(self) -> None:
        await until(lambda: self._server.worker_pid != 0, what="a worker")
        os.kill(self._server.worker_pid, signal.SIGKILL)
        self.killed.append("worker")


@dataclass
class Typist:
    """A program that types over gRPC and is killed too: it knows a name, a cursor and its source, and nothing else."""

    client: AsyncClient
    job_id: str
    name: str
    source: bytes
    got: bytes = b""
    cursor: str = ""
    lives: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def live(self) -> None:
        self.lives += 1
        session = self.client.attach(self.job_id, cursor=self.cursor, writer_id=self.name)
        self.tasks = [asyncio.create_task(self._read(session)), asyncio.create_task(self._type(session))]

    async def die(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)

    async def _read(self, session: ExecSession) -> None:
        async for message in session.output():
            self.got += b"".join(record.data for record in message.records)
            self.cursor = message.cursor

    async def _type(self, session: ExecSession) -> None:
        await session.started.wait()
        for at in range(session.kept, len(self.source), 701):
            await session.write(self.source[at : at + 701])
            await asyncio.sleep(0)


async def test_two_type_while_server_worker_and_clients_are_killed(own_server: ServerProcess) -> None:
    own_server.start()
    killer = Killer(own_server)
    first, second = typed_by(0), typed_by(128)
    total = len(READY) + len(first) + len(second)
    async with own_server.client() as client, asyncio.timeout(PATIENCE):
        opened = client.exec(RAW_CAT, terminal=(24, 80))
        async for _ in opened.output():
            break
        typists = [
            Typist(client, opened.job_id, "first", first),
            Typist(client, opened.job_id, "second", second),
        ]
        for typist in typists:
            typist.live()

        async def reborn() -> None:
            for typist in typists:
                await typist.die()
                typist.live()

        acts = [killer.server, killer.worker, reborn, killer.worker, killer.server, reborn]
        for number, act in enumerate(acts, start=1):
            far = total * number // (len(acts) + 2)
            await until(lambda far=far: min(len(typist.got) for typist in typists) >= far, what=f"{far} bytes")
            await act()
        await until(lambda: min(len(typist.got) for typist in typists) >= total, what=f"{total} bytes")
        await client.cancel(opened.job_id)
        for typist in typists:
            await asyncio.wait_for(typist.tasks[0], PATIENCE)
            check(typist.got, first, second)
            assert typist.lives == 3
    assert killer.killed == ["server", "worker", "worker", "server"]


class Frames:
    """A client of the WebSocket that remembers what the documentation says it has to: a cursor, and what is kept."""

    def __init__(self, server: ServerProcess, source: bytes) -> None:
        self._url = f"{server.http.replace('http', 'ws')}/api/v2/commands:exec"
        self._source = source
        self._request_id = f"by-frames-{os.getpid()}"
        self.got = b""
        self.cursor = ""
        self.job_id = ""
        self.socket: ClientConnection | None = None
        self.connections = 0
        self.ready = asyncio.Event()
        """Before that the terminal would echo what is typed, and take some bytes for keys of its own."""

    async def run(self) -> None:
        """Until the end is told."""
        while True:
            try:
                async with connect(self._url, proxy=None, open_timeout=60) as self.socket:
                    self.connections += 1
                    if await self._talk(self.socket):
                        return
            except (OSError, ConnectionClosed, InvalidHandshake):
                await asyncio.sleep(0.05)

    def _opening(self) -> dict[str, object]:
        if self.job_id:
            return {"attach": {"jobId": self.job_id, "cursor": self.cursor}}
        command = {"argv": RAW_CAT, "stdin": "STDIN_PTY", "requestId": self._request_id}
        return {"start": command}

    async def _talk(self, socket: ClientConnection) -> bool:
        await socket.send(json.dumps(self._opening() | {"writerId": "frames"}))
        typing: asyncio.Task[None] | None = None
        try:
            async for frame in socket:
                message = json.loads(frame)
                if "started" in message:
                    self.job_id = message["started"]["jobId"]
                    kept = int(message["started"]["input"].get("writerOffset", 0))
                    typing = asyncio.create_task(self._type(socket, kept))
                for record in message.get("output", {}).get("records", ()):
                    self.got += base64.b64decode(record.get("data", ""))
                    self.ready.set()
                self.cursor = message.get("output", {}).get("cursor", self.cursor)
                if "end" in message:
                    return True
            return False
        finally:
            if typing is not None:
                typing.cancel()
                await asyncio.gather(typing, return_exceptions=True)

    async def _type(self, socket: ClientConnection, kept: int) -> None:
        await self.ready.wait()
        for at in range(kept, len(self._source), 701):
            data = base64.b64encode(self._source[at : at + 701]).decode()
            await socket.send(json.dumps({"input": {"offset": str(at), "record": {"data": data}}}))


async def test_a_websocket_resumes_while_server_worker_and_connection_are_killed(own_server: ServerProcess) -> None:
    own_server.start()
    killer = Killer(own_server)
    given = typed_by(0)
    total = len(READY) + len(given)
    frames = Frames(own_server, given)

    async def cut() -> None:
        assert frames.socket is not None
        frames.socket.transport.abort()

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        running = group.create_task(frames.run())
        acts = [cut, killer.server, killer.worker, cut, killer.server]
        for number, act in enumerate(acts, start=1):
            far = total * number // (len(acts) + 2)
            await until(lambda far=far: len(frames.got) >= far, what=f"{far} bytes")
            before = frames.connections
            await act()
            if act != killer.worker:  # Of that the connection knows nothing.
                await until(lambda before=before: frames.connections > before, what="the next connection")
        await until(lambda: len(frames.got) >= total, what=f"{total} bytes")
        async with own_server.client() as client:
            await client.cancel(frames.job_id)
        await running
    check(frames.got, given)
    assert frames.connections >= 5
    assert killer.killed == ["server", "worker", "server"]
