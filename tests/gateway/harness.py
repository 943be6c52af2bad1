"""Ways to talk to a gateway under test: in memory, and over a socket through a real uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import httpx
import uvicorn
from grpc import aio

from gateway import AskingInterceptor, Channel, Gateway, HandlerCapture


@contextlib.asynccontextmanager
async def in_memory(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose requests never touch a socket."""
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 5555))
    async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client:
        yield client


@contextlib.asynccontextmanager
async def served(app: Any) -> AsyncIterator[int]:
    """Serves an app on a free port of the loopback interface, in this event loop."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="critical", access_log=False, lifespan="on", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    # Without signal handlers: the test run keeps its own.
    task = asyncio.create_task(server._serve([listener]))
    while not server.started:
        await asyncio.sleep(0)
    try:
        yield int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        await task


BACKENDS = ("in process", "tcp", "unix socket")


@contextlib.asynccontextmanager
async def made(
    backend: str,
    register: Callable[[Any], None],
    *,
    interceptors: Sequence[aio.ServerInterceptor] = (),
    tells: bool = True,
    **settings: Any,
) -> AsyncIterator[Gateway]:
    """A gateway over servicers: in this process, or behind a real gRPC server on a socket of the kind named.

    ``interceptors`` are the servicers'; ``tells``: a server behind a socket tells when its servicers ask.
    """
    captured = HandlerCapture()
    register(captured)
    if backend == "in process":
        yield Gateway(handlers=captured, interceptors=interceptors, **settings)
        return
    chain = [*interceptors, *([AskingInterceptor()] if tells else [])]
    server = aio.server(interceptors=chain, options=[("grpc.so_reuseport", 0)])
    register(server)
    with tempfile.TemporaryDirectory(prefix="gateway-") as directory:
        if backend == "tcp":
            address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        else:
            address = f"unix:{directory}/grpc.sock"
            server.add_insecure_port(address)
        await server.start()
        try:
            async with aio.insecure_channel(address) as channel:
                yield Gateway(backend=Channel(channel), services=captured.services(), **settings)
        finally:
            await server.stop(None)


class Raw:
    """One connection, read and written as bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def dial(cls, port: int) -> Raw:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, text: str, body: bytes = b"") -> None:
        """Sends a request given as its lines, ``Host`` added."""
        lines = [line.strip() for line in text.strip().splitlines()]
        self.writer.write("\r\n".join([lines[0], "Host: test", *lines[1:], "", ""]).encode("latin-1") + body)
        await self.writer.drain()

    async def head(self) -> str:
        """The status line and headers of the reply."""
        return (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")

    async def until(self, mark: bytes) -> bytes:
        """What comes up to and including a mark."""
        return await self.reader.readuntil(mark)

    async def rest(self) -> bytes:
        """Everything to the end of the connection."""
        return await self.reader.read()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()
