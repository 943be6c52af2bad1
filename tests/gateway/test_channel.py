"""The same requests through the same servicers, in process and over a channel: the answers are the same bytes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from gateway_servicers import Library
from gateway_servicers import register as register_library
from grpc import aio
from grpc_reflection.v1alpha.reflection import SERVICE_NAME, enable_server_reflection
from harness import Raw, in_memory, served

from gateway import Channel, Gateway, HandlerCapture, ReflectionError, pool_of, reflected

FORM = "multipart/form-data; boundary=x"

REQUESTS: list[tuple[str, str, bytes, dict[str, str]]] = [
    ("GET", "/v1/books/x", b"", {}),
    ("GET", "/v1/books/missing", b"", {}),
    ("GET", "/v1/books/coded", b"", {}),
    ("GET", "/v1/books/busy", b"", {}),
    ("GET", "/v1/books/odd", b"", {}),
    ("GET", "/v1/books/shaped", b"", {}),
    ("GET", "/v1/books?pageSize=x", b"", {}),
    ("GET", "/v1/nothing", b"", {}),
    ("POST", "/v1/shelves/s/books", b'{"title": "t", "labels": {"b": "1", "a": "2"}}', {}),
    ("POST", "/v1/shelves/s/books:import", b'{"title":"a"}\n{"title":"b"}', {}),
    ("GET", "/v1/books:watch?count=3", b"", {}),
    ("GET", "/v1/books:watch?count=3&failAfter=2", b"", {"accept": "application/x-ndjson"}),
    ("GET", "/v1/books:watch?failAfter=0", b"", {}),
    ("GET", "/v1/books/x/content", b"", {}),
    ("GET", "/api/v9/commands/j1", b"", {}),
    ("GET", "/api/v9/commands/zz", b"", {}),
    ("POST", "/api/v9/commands", b'{"command": "x", "extra": {"a": 1.10}}', {"cookie": "session=s"}),
    ("GET", "/v1/books/hang", b"", {"grpc-timeout": "20m"}),
]


HABIT_REQUESTS: list[tuple[str, str, bytes, dict[str, str]]] = [
    ("GET", "/h/", b"", {}),
    ("PUT", "/h/json/n", b'{"b": 1.10, "a": 123456789012345678901}', {"content-type": "application/json"}),
    (
        "POST",
        "/h/files/n",
        b"--x\r\nContent-Disposition: form-data; name=file\r\n\r\nhello\r\n--x--",
        {"content-type": FORM},
    ),
    ("POST", "/h/files/n", b"--x--", {"content-type": FORM}),
    ("POST", "/h/files/n", b"--x\r\nnonsense", {"content-type": FORM}),
    ("PUT", "/h/files/n", b"hello", {}),
    ("GET", "/h/fail/ANY", b"", {}),
    ("GET", "/h/fail/POP", b"", {}),
    ("GET", "/h/shape", b"", {}),
    ("GET", "/h/look?token=t&plain=1", b"", {}),
    ("GET", "/h/events", b"", {}),
    ("DELETE", "/h/version", b"", {}),
]


def register(server: Any) -> None:
    import habits_pb2_grpc
    from habit_servicer import Habits

    register_library(Library(), server)
    habits_pb2_grpc.add_HabitServiceServicer_to_server(Habits(), server)


@pytest.fixture(params=["tcp", "unix", "reflection", "descriptor set"])
async def remote(request: pytest.FixtureRequest, tmp_path: Path, descriptors: bytes) -> AsyncIterator[Gateway]:
    """A gateway whose servicers live behind a socket, and whose descriptors come from elsewhere, too."""
    captured = HandlerCapture()
    register(captured)
    names, pool = captured.services(), None
    server = aio.server(options=[("grpc.so_reuseport", 0)])
    register(server)
    enable_server_reflection([*names, SERVICE_NAME], server)
    if request.param == "unix":
        address = f"unix:{tmp_path}/grpc.sock"
        server.add_insecure_port(address)
    else:
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    async with aio.insecure_channel(address) as channel:
        if request.param == "reflection":
            pool, found = await reflected(channel)
            assert sorted(found) == sorted(names)
        elif request.param == "descriptor set":
            pool, found = pool_of(descriptors)
            assert set(found) >= set(names)
        yield Gateway(backend=Channel(channel, pool), services=names, pool=pool)
    await server.stop(None)


@pytest.fixture
def here() -> Gateway:
    captured = HandlerCapture()
    register(captured)
    return Gateway(handlers=captured)


async def test_answers_are_byte_identical_over_a_channel(here: Gateway, remote: Gateway) -> None:
    async with in_memory(here) as near_client, in_memory(remote) as far_client:
        for method, url, body, headers in REQUESTS + HABIT_REQUESTS:
            sent: dict[str, Any] = {"content": body, "headers": {"x-request-id": "r1", **headers}}
            near, far = await near_client.request(method, url, **sent), await far_client.request(method, url, **sent)
            assert (far.status_code, far.content) == (near.status_code, near.content), url
            assert far.headers.raw == near.headers.raw, url


async def test_an_upload_that_is_refused_under_way_says_why(remote: Gateway) -> None:
    body = b'{"title": "t"}\n' * 30
    async with in_memory(remote) as client:
        for _ in range(10):
            reply = await client.post("/v1/shelves/closed/books:echo", content=body)
            assert (reply.status_code, reply.json()["message"]) == (403, "the shelf is closed")


async def test_a_server_that_is_gone_is_503_without_its_address() -> None:
    async with aio.insecure_channel("127.0.0.1:1") as channel:
        gateway = Gateway(backend=Channel(channel), services=["test.library.v1.LibraryService"])
        async with in_memory(gateway) as client:
            reply = await client.get("/v1/books/x")
    assert (reply.status_code, reply.json()["message"]) == (503, "the server behind this gateway can't be reached")


class _Relay:
    """A way to a server that can be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, back]
        await asyncio.gather(self._copy(reader, back), self._copy(there, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


class _Unaware:
    """A channel that hears of nothing before its calls do."""

    def __init__(self, channel: aio.Channel) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def get_state(self) -> grpc.ChannelConnectivity:
        return grpc.ChannelConnectivity.READY


async def test_a_connection_that_breaks_in_mid_stream_is_told_in_our_words() -> None:
    server = aio.server(options=[("grpc.so_reuseport", 0)])
    register_library(Library(), server)
    relay = _Relay(server.add_insecure_port("127.0.0.1:0"))
    await server.start()
    way = await asyncio.start_server(relay.carry, "127.0.0.1", 0)
    async with way, aio.insecure_channel(f"127.0.0.1:{way.sockets[0].getsockname()[1]}") as channel:
        backend = Channel(cast(aio.Channel, _Unaware(channel)))
        async with served(Gateway(backend=backend, services=["test.library.v1.LibraryService"])) as port:
            client = await Raw.dial(port)
            await client.send("GET /v1/books:watch?count=1&hold=true HTTP/1.1\nConnection: close")
            await client.until(b"\n\n")
            relay.cut()
            told = await client.rest()
            await client.close()
    await server.stop(None)
    assert b'"code":14,"message":"the server behind this gateway can\'t be reached"' in told


async def test_a_server_without_reflection_says_so() -> None:
    server = aio.server(options=[("grpc.so_reuseport", 0)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(ReflectionError, match="the server has no reflection"):
                await reflected(channel)
    finally:
        await server.stop(None)


async def test_a_service_that_nobody_knows_is_named() -> None:
    server = aio.server(options=[("grpc.so_reuseport", 0)])
    register(server)
    enable_server_reflection([SERVICE_NAME], server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(ReflectionError, match=r"does not know nobody\.Knows"):
                await reflected(channel, ["nobody.Knows"])
    finally:
        await server.stop(None)
