"""The server's cap on what clients may ask for, over all backends."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from checklist import covers
from gateway_servicers import Library, register
from harness import Raw, in_memory, made, served

from gateway import GatewayOptions

CAP = 0.05


@pytest.fixture
async def gateway(library: Library, backend: str) -> AsyncIterator[Any]:
    options = GatewayOptions(max_timeout_seconds=CAP, first_message_seconds=20)
    async with made(backend, functools.partial(register, library), options=options) as gateway:
        yield gateway


FACADE = {"error": "Gateway Timeout", "message": "the deadline of the request has passed"}
STATUS = {"code": 4, "message": "the deadline of the request has passed", "details": []}


@covers("deadline")
@pytest.mark.parametrize(
    ("path", "headers", "told", "why"),
    [
        ("/v1/books/hang", {"grpc-timeout": "1H"}, STATUS, "an hour is more than the server gives"),
        ("/v1/books/hang", {"grpc-timeout": "99999999H"}, STATUS, "and so are eleven thousand years"),
        ("/v1/books/hang", {"x-request-timeout": "3600"}, STATUS, "an hour in seconds"),
        ("/v1/books/hang", {"grpc-timeout": "1m"}, STATUS, "less than the cap is the client's to choose"),
        ("/v1/books/hang", {}, STATUS, "who asks for nothing gets what the server gives"),
        ("/api/v9/commands/hang", {"x-request-timeout": "3600"}, FACADE, "in the envelope of the service"),
        ("/v1/books:watch?hold=true", {"x-request-timeout": "3600"}, STATUS, "a stream that was given a deadline"),
    ],
)
async def test_no_deadline_is_later_than_the_cap(
    client: httpx.AsyncClient, path: str, headers: dict[str, str], told: dict[str, Any], why: str
) -> None:
    reply = await client.get(path, headers=headers)
    assert (reply.status_code, reply.json()) == (504, told), why


async def test_a_stream_under_way_is_told_and_one_without_a_deadline_goes_on(gateway: Any, backend: str) -> None:
    async with served(gateway) as port:
        patient, hasty = await Raw.dial(port), await Raw.dial(port)
        await patient.send("GET /v1/books:watch?count=1&hold=true HTTP/1.1\nConnection: close")
        await patient.until(b"\n\n")
        await hasty.send("GET /v1/books:watch?count=1&hold=true HTTP/1.1\nConnection: close\nGrpc-Timeout: 1H")
        # Over a channel the first message may come too late, too: then there is no stream yet to tell it in.
        told = await hasty.rest()
        assert b'"code":4,"message":"the deadline of the request has passed"' in told
        assert backend != "in process" or b"event: error\ndata: " in told
        # The cap was over for the one that came after.
        gateway.drain()
        assert b"shutting down" in await patient.rest()
        await patient.close()
        await hasty.close()


@covers("deadline")
@pytest.mark.parametrize(
    ("headers", "most", "why"),
    [
        ({"grpc-timeout": "1H"}, 50, "the cap"),
        ({"x-request-timeout": "20"}, 20, "its own"),
        ({"grpc-timeout": "20S", "x-request-timeout": "40"}, 20, "gRPC's own header comes first"),
        ({}, 50, "a unary call has one in any case"),
    ],
)
async def test_the_servicer_knows_how_long_it_has(
    library: Library, backend: str, headers: dict[str, str], most: float, why: str
) -> None:
    options = GatewayOptions(max_timeout_seconds=50)
    serving = made(backend, functools.partial(register, library), options=options)
    async with serving as gateway, in_memory(gateway) as client:
        assert (await client.get("/v1/books/x", headers=headers)).status_code == 200
    (remaining,) = library.remaining
    assert remaining is not None
    # On the wire gRPC rounds what is left of ten seconds and more up to the next tenth.
    rounded = 0.0 if backend == "in process" else 0.1
    assert 0 < remaining <= most + rounded, why


async def test_without_a_cap_any_deadline_will_do(library: Library, backend: str) -> None:
    async with made(backend, functools.partial(register, library)) as gateway, in_memory(gateway) as client:
        for headers in ({"grpc-timeout": "99999999H"}, {"x-request-timeout": "99999999"}):
            assert (await client.get("/v1/books/x", headers=headers)).status_code == 200
