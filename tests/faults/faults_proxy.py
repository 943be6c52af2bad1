"""A TCP proxy in the test's own event loop that does to connections what networks do.

What it passes on, it passes on whole and in order, as TCP does; a byte that it has swallowed is never followed by
another one on that connection, which is then reset.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass, field

PIECE = 1 << 16
MOST_RECORDED = 1 << 20
"""Of one connection; a longer one cannot be said again."""
AGAIN_SECONDS = 0.3
"""How long what is said again is given to be heard."""


@dataclass(eq=False)
class _Connection:
    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    said: bytearray | None = field(default_factory=bytearray)
    """All that came from the near side; None: too much."""

    def reset(self) -> None:
        for writer in (self.near, self.far):
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class FaultProxy:
    """Listens on a port of its own and passes on to one of ``targets``, which may come and go."""

    def __init__(self, *targets: str) -> None:
        self.targets = list(targets)
        """``HOST:PORT`` of each; each connection goes to the next one that answers. None: it is closed at once."""
        self._turn = 0
        self.address = ""
        self.faults = 0
        """How many faults there were."""
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusing = False
        self._delay = 0.0
        self._swallowing = False
        self._reset_on_reply = False

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._reset_all()
        if self._tasks:  # Each ends by itself now that its connection is reset.
            await asyncio.wait(set(self._tasks), timeout=60)

    async def cut(self, seconds: float) -> None:
        """Every connection is reset, and new ones are for so long."""
        self.faults += 1
        self._refusing = True
        self._reset_all()
        await asyncio.sleep(seconds)
        self._refusing = False

    async def delay(self, each: float, seconds: float) -> None:
        """For so long every piece arrives later, by ``each``."""
        self.faults += 1
        self._delay = each
        await asyncio.sleep(seconds)
        self._delay = 0.0

    async def half_open(self, seconds: float) -> None:
        """For so long all connections look alive and carry nothing; then both sides learn that they are dead."""
        self.faults += 1
        self._swallowing = True
        before = set(self._connections)
        await asyncio.sleep(seconds)
        self._swallowing = False
        for connection in before | self._connections:
            connection.reset()

    async def reset_after_reply(self, seconds: float) -> None:
        """The next answer of the server is lost, and its connection with it: what was asked has happened. Waits at most
        so long for an answer."""
        self.faults += 1
        self._reset_on_reply = True
        await asyncio.sleep(seconds)
        self._reset_on_reply = False

    async def duplicate(self) -> None:
        """Everything that was asked on each connection is asked again, on another one, whose answers nobody hears."""
        self.faults += 1
        for connection in list(self._connections):
            if connection.said:
                await self._say_again(bytes(connection.said))

    async def _say_again(self, said: bytes) -> None:
        far_side = await self._reach()
        if far_side is None:
            return
        reader, writer = far_side
        try:
            writer.write(said)
            async with asyncio.timeout(AGAIN_SECONDS):
                while await reader.read(PIECE):
                    pass
        except (OSError, TimeoutError):
            pass
        finally:
            writer.transport.abort()

    def _reset_all(self) -> None:
        for connection in list(self._connections):
            connection.reset()

    async def _accept(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            far_side = None if self._refusing else await self._reach()
            if far_side is None:
                return
            far_reader, far = far_side
            connection = _Connection(near, far)
            self._connections.add(connection)
            try:
                async with asyncio.TaskGroup() as pumps:
                    pumps.create_task(self._pump(connection, reader, far, up=True))
                    pumps.create_task(self._pump(connection, far_reader, near, up=False))
            except* OSError:
                pass
            finally:
                connection.reset()
                self._connections.discard(connection)
        finally:
            near.transport.abort()
            self._tasks.discard(task)

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        self._turn += 1
        at = self._turn % max(1, len(self.targets))
        for target in self.targets[at:] + self.targets[:at]:
            host, _, port = target.rpartition(":")
            with contextlib.suppress(OSError):
                return await asyncio.open_connection(host, int(port))
        return None

    async def _pump(
        self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool
    ) -> None:
        while piece := await reader.read(PIECE):
            if self._delay:
                await asyncio.sleep(self._delay)
            if self._swallowing:
                connection.said = None
                while await reader.read(PIECE):  # until it is reset
                    pass
                break
            if not up and self._reset_on_reply:
                self._reset_on_reply = False
                break
            if up and connection.said is not None:
                connection.said += piece
                if len(connection.said) > MOST_RECORDED:
                    connection.said = None
            writer.write(piece)
            await writer.drain()
        connection.reset()
