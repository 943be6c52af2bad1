"""Client streams over HTTP: NDJSON lines and raw pieces, as they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from checklist import covers
from gateway_servicers import Library
from harness import Raw, served


async def pieces(*given: bytes) -> AsyncIterator[bytes]:
    for piece in given:
        yield piece


@covers("client-streams")
@pytest.mark.parametrize(
    ("body", "titles", "why"),
    [
        ([b'{"title":"a"}\n{"title":"b"}\n'], ["s/a", "s/b"], "two lines"),
        ([b'{"title":', b'"a"}\n\n{"ti', b'tle":"b"}'], ["s/a", "s/b"], "cut anywhere, no last line break"),
        ([], [], "no message at all"),
        ([b"\n \n"], [], "blank lines"),
    ],
)
async def test_lines_become_messages_with_the_paths_variables(
    client: httpx.AsyncClient, body: list[bytes], titles: list[str], why: str
) -> None:
    reply = await client.post(
        "/v1/shelves/s/books:import", content=pieces(*body), headers={"content-type": "application/x-ndjson"}
    )
    assert (reply.status_code, reply.json()) == (200, {"titles": titles}), why


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b'{"title":"a"}\n{"title":1}\n', 400, "FIELD_INVALID"),
        (b"{\n", 400, "BODY_MALFORMED"),
        (b'{"title":"' + b"x" * 300 + b'"}', 413, "BODY_TOO_LARGE"),
    ],
)
async def test_a_bad_line_fails_the_call(client: httpx.AsyncClient, body: bytes, status: int, reason: str) -> None:
    reply = await client.post("/v1/shelves/s/books:import", content=body)
    assert (reply.status_code, reply.json()["details"][0]["reason"]) == (status, reason)


async def test_raw_bodies_stream_in_pieces(client: httpx.AsyncClient) -> None:
    reply = await client.put(
        "/v1/books/b/content", content=pieces(b"\x00" * 70_000, b"", b"\xff" * 70_000), headers={"content-type": "x/y"}
    )
    assert reply.json() == {"name": "b", "contentType": "x/y", "size": "140000", "whole": True}


async def test_raw_bodies_have_a_cap(client: httpx.AsyncClient) -> None:
    announced = await client.put("/v1/books/b/content", content=b"x" * 10_000_001)
    found = await client.put("/v1/books/b/content", content=pieces(*[b"x" * 1_000_000] * 11))
    assert [announced.status_code, found.status_code] == [413, 413]


@pytest.mark.parametrize(
    ("framing", "begun", "then", "why"),
    [
        ("Content-Length: 9000000", b"x" * 100_000, b"", "less than was announced"),
        ("Transfer-Encoding: chunked", b"6\r\nabcdef\r\n", b"", "no last chunk"),
        ("Transfer-Encoding: chunked", b"6\r\nabcdef\r\n", b"ffff\r\nabc", "in the middle of a chunk"),
        ("Transfer-Encoding: chunked", b"6\r\nabcdef\r\n", b"no chunk\r\n", "what is no chunk"),
        (
            "Transfer-Encoding: chunked",
            b"6\r\nabcdef\r\n",
            b"989680\r\n" + b"x" * 10_000_000 + b"\r\n0\r\n\r\n",
            "over the cap",
        ),
    ],
)
async def test_a_body_that_breaks_off_cancels_the_call_and_never_looks_whole(
    gateway: Any, library: Library, framing: str, begun: bytes, then: bytes, why: str
) -> None:
    async with served(gateway) as port:
        connection = await Raw.dial(port)
        await connection.send(f"PUT /v1/books/b/content HTTP/1.1\n{framing}", begun)
        await asyncio.wait_for(library.waiting.wait(), timeout=10)
        connection.writer.write(then)
        if len(then) < 1000:
            await connection.close()
        await asyncio.wait_for(library.cancelled.wait(), timeout=10)
        await connection.close()
    assert library.uploads == 0, why


async def test_both_ways_at_once(gateway: Any) -> None:
    async with served(gateway) as port:
        connection = await Raw.dial(port)
        await connection.send("POST /v1/shelves/s/books:echo HTTP/1.1\nTransfer-Encoding: chunked\nConnection: close")
        connection.writer.write(b'e\r\n{"title":"a"}\n\r\n')
        head: Any = await connection.head()
        assert "200" in head.splitlines()[0]
        assert b'"title":"a"' in await connection.until(b"}\n"), "answered before the body has ended"
        connection.writer.write(b'd\r\n{"title":"b"}\r\n0\r\n\r\n')
        assert b'"title":"b"' in await asyncio.wait_for(connection.rest(), timeout=60)
        await connection.close()
