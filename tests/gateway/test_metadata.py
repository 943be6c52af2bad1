"""Headers into metadata and metadata into headers, as the servicer and the client see them, over all backends."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from checklist import covers
from gateway_servicers import Library, register
from harness import in_memory, made

from gateway import GatewayOptions
from gateway.metadata import reply_shape

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
LISTED = frozenset({"x-shelf", "x-late", "x-seal-bin"})


@pytest.fixture
async def gateway(library: Library, backend: str) -> AsyncIterator[Any]:
    options = GatewayOptions(reply_metadata=LISTED)
    async with made(backend, functools.partial(register, library), options=options) as gateway:
        yield gateway


async def test_a_trace_goes_through(client: httpx.AsyncClient, library: Library) -> None:
    sent = {"traceparent": TRACE, "tracestate": "a=1,b=2", "x-request-id": "r1"}
    reply = await client.get("/v1/books/x", headers=sent)
    (seen,) = library.metadata
    assert {name: seen[name] for name in sent} == sent
    assert reply.headers["x-request-id"] == "r1"


def marks(reply: httpx.Response) -> dict[str, list[str]]:
    names = ("x-shelf", "x-late", "x-seal-bin", "x-other", "grpc-x")
    return {name: reply.headers.get_list(name) for name in names if name in reply.headers}


@covers("headers-and-metadata")
@pytest.mark.parametrize(
    ("path", "status", "told", "why"),
    [
        (
            "/v1/books/marked",
            200,
            {"x-shelf": ["A", "B"], "x-late": ["yes"], "x-seal-bin": ["AP8="]},
            "initial and trailing, every value, bytes as base64, and no other name",
        ),
        (
            "/v1/books/marked%20and%20missing",
            404,
            {"x-shelf": ["C"], "x-seal-bin": ["AQ==", "Ag=="]},
            "of errors as well",
        ),
        ("/v1/books/measured/content", 200, {"x-shelf": ["D"]}, "of streams, what came before their first message"),
        ("/v1/books/x", 200, {}, "nothing is nothing"),
    ],
)
async def test_listed_metadata_becomes_headers(
    client: httpx.AsyncClient, path: str, status: int, told: dict[str, list[str]], why: str
) -> None:
    reply = await client.get(path)
    assert (reply.status_code, marks(reply)) == (status, told), why


async def test_unless_listed_it_stays_inside(library: Library, backend: str) -> None:
    async with made(backend, functools.partial(register, library)) as gateway, in_memory(gateway) as client:
        assert marks(await client.get("/v1/books/marked")) == {}


@covers("headers-and-metadata")
@pytest.mark.parametrize(
    ("value", "told", "why"),
    [
        ("a\r\nset-cookie: b=c", [], "a line break would forge a header"),
        (b"caf\xe9", [("x-shelf", "caf\xe9")], "bytes that gRPC let through"),
    ],
)
def test_a_listed_value_that_is_no_header_is_dropped(value: str | bytes, told: list[tuple[str, str]], why: str) -> None:
    assert reply_shape([("x-shelf", value)], listed=LISTED).headers == told, why


@covers("headers-and-metadata")
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("grpc-status-details-bin", "gRPC stays inside"),
        ("x-http-status", "the gateway's own"),
        ("content-length", "framing is the server's"),
        ("transfer-encoding", "framing is the server's"),
        ("content-type", "every reply has one"),
        ("x-request-id", "every reply has one"),
        ("X-Shelf", "metadata is in lower case: it would never match"),
        ("a b", "no name"),
    ],
)
def test_what_cannot_be_listed_is_refused_at_start(name: str, why: str) -> None:
    with pytest.raises(ValueError, match="can't be a header of replies"):
        GatewayOptions(reply_metadata=frozenset({name}))
