"""The same requests through the same servicers, in process and over a channel: the answers are the same bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from gateway_servicers import Commands, Everything, Library
from grpc import aio
from harness import in_memory

from gateway import Channel, Gateway

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


@pytest.fixture(params=["tcp", "unix"])
async def remote(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway whose servicers live behind a socket."""
    import everything_pb2_grpc
    import facade_pb2_grpc
    import library_pb2_grpc

    server = aio.server(options=[("grpc.so_reuseport", 0)])
    library_pb2_grpc.add_LibraryServiceServicer_to_server(Library(), server)
    facade_pb2_grpc.add_CommandServiceServicer_to_server(Commands(), server)
    everything_pb2_grpc.add_EverythingServiceServicer_to_server(Everything(), server)
    if request.param == "tcp":
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    else:
        address = f"unix:{tmp_path}/grpc.sock"
        server.add_insecure_port(address)
    await server.start()
    services = [f"test.{name}" for name in SERVICES]
    async with aio.insecure_channel(address) as channel:
        yield Gateway(backend=Channel(channel), services=services)
    await server.stop(None)


SERVICES = ["library.v1.LibraryService", "facade.v1.CommandService", "everything.v1.EverythingService"]


async def test_answers_are_byte_identical_over_a_channel(gateway: Gateway, remote: Gateway) -> None:
    async with in_memory(gateway) as here, in_memory(remote) as there:
        for method, url, body, headers in REQUESTS:
            sent: dict[str, Any] = {"content": body, "headers": {"x-request-id": "r1", **headers}}
            near, far = await here.request(method, url, **sent), await there.request(method, url, **sent)
            assert (far.status_code, far.content) == (near.status_code, near.content), url
            assert far.headers.raw == near.headers.raw, url
