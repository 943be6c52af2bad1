"""Server streams over a real socket: framings, errors before and after the headers, clients that leave."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from checklist import covers
from gateway_servicers import Library, register
from harness import Raw, made, served

from gateway import GatewayOptions

EVENT = (
    '{"sequence":"%d","kind":"added","book":'
    '{"name":"b%d","title":"","pageCount":0,"wordCount":"0","labels":{},"subjects":[]}}'
)


def event(number: int) -> str:
    return EVENT % (number, number)


@covers("streams")
@pytest.mark.parametrize(
    ("accept", "media_type", "body"),
    [
        (
            None,
            "text/event-stream; charset=utf-8",
            f"id: 1\nevent: added\ndata: {event(1)}\n\nid: 2\nevent: added\ndata: {event(2)}\n\n",
        ),
        (
            "*/*",
            "text/event-stream; charset=utf-8",
            f"id: 1\nevent: added\ndata: {event(1)}\n\nid: 2\nevent: added\ndata: {event(2)}\n\n",
        ),
        ("application/x-ndjson", "application/x-ndjson", f"{event(1)}\n{event(2)}\n"),
        ("application/ndjson", "application/x-ndjson", f"{event(1)}\n{event(2)}\n"),
        ("application/json", "application/json", f"[{event(1)},{event(2)}]"),
        ("text/event-stream;q=0.1, application/json", "application/json", f"[{event(1)},{event(2)}]"),
    ],
)
async def test_streams_are_framed_by_accept(
    client: httpx.AsyncClient, accept: str | None, media_type: str, body: str
) -> None:
    headers = {"accept": accept} if accept else {"accept": ""}
    reply = await client.get("/v1/books:watch?count=2", headers=headers)
    assert (reply.headers["content-type"], reply.text) == (media_type, body)


async def test_an_unknown_framing_is_406(client: httpx.AsyncClient) -> None:
    reply = await client.get("/v1/books:watch?count=2", headers={"accept": "image/png"})
    assert (reply.status_code, reply.json()["details"][0]["reason"]) == (406, "NOT_ACCEPTABLE")


@pytest.mark.parametrize(
    ("accept", "body"), [("text/event-stream", ""), ("application/x-ndjson", ""), ("application/json", "[]")]
)
async def test_an_empty_stream_is_200_with_the_negotiated_type(
    client: httpx.AsyncClient, accept: str, body: str
) -> None:
    reply = await client.get("/v1/books:watch", headers={"accept": accept})
    assert (reply.status_code, reply.text) == (200, body)
    assert reply.headers["content-type"].startswith(accept)


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson", "application/json"])
async def test_an_error_before_the_first_message_has_a_real_status(client: httpx.AsyncClient, accept: str) -> None:
    reply = await client.get("/v1/books:watch?failAfter=0", headers={"accept": accept})
    assert (reply.status_code, reply.json()["message"]) == (500, "the shelf burnt down")
    bad = await client.get("/v1/books:watch?count=x", headers={"accept": accept})
    assert (bad.status_code, bad.json()["details"][0]["reason"]) == (400, "FIELD_INVALID")


async def test_later_errors_are_visible_in_sse_and_ndjson(client: httpx.AsyncClient) -> None:
    status = '{"code":15,"message":"the shelf burnt down","details":[]}'
    sse = await client.get("/v1/books:watch?count=1&failAfter=1")
    assert sse.text.endswith(f"{event(1)}\n\nevent: error\ndata: {status}\n\n")
    lines = await client.get("/v1/books:watch?count=1&failAfter=1", headers={"accept": "application/x-ndjson"})
    assert lines.text == f'{event(1)}\n{{"error":{status}}}\n'


async def test_a_client_resumes_by_last_event_id(client: httpx.AsyncClient) -> None:
    reply = await client.get("/v1/books:watch?count=1", headers={"last-event-id": "7"})
    assert reply.text.startswith("id: 8\n")


async def test_http_body_streams_are_byte_exact(client: httpx.AsyncClient) -> None:
    reply = await client.get("/v1/books/x/content", headers={"accept": "text/*"})
    assert (reply.headers["content-type"], reply.content) == ("text/x-book", b"one\x00two\xff")
    empty = await client.get("/v1/books/empty/content")
    assert (empty.status_code, empty.content) == (200, b"")


async def test_head_of_a_stream_has_its_headers(client: httpx.AsyncClient) -> None:
    reply = await client.head("/v1/books:watch?count=2")
    assert (reply.status_code, reply.content) == (200, b"")
    assert reply.headers["content-type"].startswith("text/event-stream")


@pytest.fixture
async def port(library: Library, backend: str) -> AsyncIterator[int]:
    """A served gateway with a short keep-alive."""
    options = GatewayOptions(keepalive_seconds=0.02, first_message_seconds=0.02)
    serving = made(backend, functools.partial(register, library), options=options)
    async with serving as gateway, served(gateway) as number:
        yield number


@pytest.mark.parametrize("path", ["/v1/books/torn/content", "/v1/books:watch?count=2&failAfter=1"])
async def test_raw_and_array_streams_that_fail_are_cut(port: int, path: str) -> None:
    connection = await Raw.dial(port)
    await connection.send(f"GET {path} HTTP/1.1\nAccept: application/json, application/octet-stream;q=0.1")
    assert "200 OK" in await connection.head()
    assert not (await connection.rest()).endswith(b"0\r\n\r\n"), "no clean end of a chunked body"
    await connection.close()


async def test_silence_is_kept_alive_and_leaving_cancels_the_servicer(port: int, library: Library) -> None:
    connection = await Raw.dial(port)
    await connection.send("GET /v1/books:watch?count=1&hold=true HTTP/1.1")
    assert "200 OK" in await connection.head()
    await connection.until(b"\n\n")
    await connection.until(b": keep-alive\n\n")
    assert library.waiting.is_set()
    await connection.close()
    await asyncio.wait_for(library.cancelled.wait(), timeout=60)


async def test_a_silent_stream_gets_its_headers_all_the_same(port: int) -> None:
    connection = await Raw.dial(port)
    await connection.send("GET /v1/books:watch?hold=true HTTP/1.1")
    assert "text/event-stream" in await connection.head()
    await connection.until(b": keep-alive\n\n")
    await connection.close()


async def test_leaving_cancels_a_unary_call(port: int, library: Library) -> None:
    connection = await Raw.dial(port)
    await connection.send("GET /v1/books/hang HTTP/1.1")
    await asyncio.wait_for(library.waiting.wait(), timeout=60)
    await connection.close()
    await asyncio.wait_for(library.cancelled.wait(), timeout=60)


async def test_a_slow_client_loses_nothing_and_holds_the_servicer_back(library: Library, backend: str) -> None:
    options = GatewayOptions(batch_bytes=1000)
    async with (
        made(backend, functools.partial(register, library), options=options) as gateway,
        served(gateway) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
        client.stream("GET", "/v1/books:watch?count=5000", headers={"accept": "application/x-ndjson"}) as reply,
    ):
        lines = [line async for line in reply.aiter_lines()]
    assert lines == [event(number) for number in range(1, 5001)]


async def test_draining_ends_streams_with_an_error_that_clients_see(gateway: Any, library: Library) -> None:
    async with served(gateway) as port:
        connection = await Raw.dial(port)
        await connection.send("GET /v1/books:watch?count=1&hold=true HTTP/1.1\nConnection: close")
        await connection.head()
        await connection.until(b"\n\n")
        gateway.drain()
        rest = await connection.rest()
        await connection.close()
    assert b"retry: 1000\nevent: error\ndata: " in rest
    assert b"shutting down" in rest
    assert rest.endswith(b"0\r\n\r\n")
    await asyncio.wait_for(library.cancelled.wait(), timeout=60)


async def test_an_oversized_body_is_refused_before_it_is_read(port: int) -> None:
    connection = await Raw.dial(port)
    await connection.send("POST /e/body HTTP/1.1\nContent-Length: 999999999\nExpect: 100-continue")
    head: Any = await connection.head()
    assert "413" in head.splitlines()[0]
    await connection.close()
