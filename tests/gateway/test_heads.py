"""Requests as RFC 9110 and 9112 forbid them, and as they allow them, written byte by byte to a real server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from gateway_servicers import Library, capture
from harness import Raw

from gateway import Gateway, GatewayOptions
from runner_service import connections
from runner_service.http import HttpServer

BOOK = "GET /v1/books/x HTTP/1.1"
POST = "POST /v1/books/x:checkout HTTP/1.1\r\nHost: t"


@pytest.fixture
async def port(library: Library) -> AsyncIterator[int]:
    """The server as the product has it."""
    http = HttpServer(Gateway(handlers=capture(library), options=GatewayOptions(max_body_bytes=1000)))
    address = await http.listen("127.0.0.1:0")
    await http.start()
    yield int(address.rpartition(":")[2])
    await http.stop(grace=1)


async def said(port: int, sent: str, body: bytes = b"") -> tuple[list[int], bytes]:
    """The statuses of all answers up to the end of the connection, and what came, whole."""
    raw = await Raw.dial(port)
    raw.writer.write(sent.replace("\n", "\r\n").replace("\r\r\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body)
    whole = await asyncio.wait_for(raw.rest(), timeout=60)
    await raw.close()
    return [int(part[:3]) for part in whole.split(b"HTTP/1.1 ")[1:]], whole


CLOSE = "\r\nConnection: close"


ROWS: list[tuple[str, bytes, list[int], str]] = [
    (BOOK + CLOSE, b"", [400], "no Host: RFC 9112, 3.2"),
    (f"{BOOK}\r\nHost: a\r\nHost: b{CLOSE}", b"", [400], "two Hosts: which of them would be believed?"),
    (f"{BOOK}\r\nHost: a b@c/d{CLOSE}", b"", [400], "a Host that is none"),
    (f"{BOOK}\r\nHost: [::1]:8080{CLOSE}", b"", [200], "an address of IPv6"),
    (f"{BOOK}\r\nHost:{CLOSE}", b"", [200], "an empty Host is allowed"),
    ("GET /v1/books/x HTTP/2.0\r\nHost: t", b"", [505], "another version"),
    ("GET /v1/books/x", b"", [505], "HTTP/0.9"),
    ("OPTIONS * HTTP/1.1\r\nHost: t" + CLOSE, b"", [204], "the server as a whole"),
    ("GET * HTTP/1.1\r\nHost: t" + CLOSE, b"", [404], "is no path"),
    ("GET http://t/v1/books/x HTTP/1.1\r\nHost: t" + CLOSE, b"", [200], "the absolute form is to be taken"),
    ("GET //v1/books/x HTTP/1.1\r\nHost: t" + CLOSE, b"", [404], "nothing is tidied up"),
    ("GET /v1/../v1/books/x HTTP/1.1\r\nHost: t" + CLOSE, b"", [404], "nor resolved"),
    (f"{BOOK}\r\nHost: t\r\n" + "X-A: b\r\n" * 256 + "Connection: close", b"", [431], "too many headers"),
    (f"{POST}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked", b"0\r\n\r\nGET /s", [400], "smuggling"),
    (f"{POST}\r\nContent-Length: 2\r\nContent-Length: 5", b"{}123", [400], "two lengths"),
    (f"{POST}\r\nContent-Length: +2", b"{}", [400], "a length with a sign"),
    (f"{POST}\r\nTransfer-Encoding: xchunked", b"0\r\n\r\n", [400], "a coding that never ends"),
    (f"{POST}\r\nTransfer-Encoding : chunked", b"0\r\n\r\n", [400], "a space before the colon"),
    (f"{POST}\r\nX-A: b\r\n c\r\nContent-Length: 2", b"{}", [400], "a folded line"),
    (f"{POST}{CLOSE}\r\nTransfer-Encoding: gzip, chunked", b"2\r\n{}\r\n0\r\n\r\n", [501], "a coding unknown"),
    (f"{POST}{CLOSE}\r\nTransfer-Encoding: Chunked", b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", [200], "bytes by and by"),
    (f"{POST}\r\nTransfer-Encoding: chunked", b"-2\r\n{}\r\n0\r\n\r\n", [400], "a chunk of less than nothing"),
    (f"{BOOK}\r\nHost: t\r\n\r\n{BOOK}\r\nHost: t{CLOSE}", b"", [200, 200], "pipelined"),
    (
        f"HEAD /v1/books:watch?count=2 HTTP/1.1\r\nHost: t\r\n\r\n{BOOK}\r\nHost: t{CLOSE}",
        b"",
        [200, 200],
        "HEAD of a stream has no body to be taken for the next answer",
    ),
    (f"{POST}\r\nContent-Length: 2\r\nExpect: 100-continue{CLOSE}", b"{}", [100, 200], "what it waits for"),
    (
        f"POST /v1/nothing HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\nExpect: 100-continue{CLOSE}",
        b"{}",
        [404],
        "nobody wants that body",
    ),
    (f"{BOOK}\r\nHost: t\r\nX-API-Key: a\0b", b"", [400], "a null in a header"),
]


async def test_what_a_request_of_any_shape_gets(port: int) -> None:
    """One server for all rows: starting and stopping one takes longer than they do."""
    wrong = []
    for sent, body, statuses, why in ROWS:
        found, whole = await said(port, sent, body)
        told = b"x-request-id: " in whole and (statuses[-1] < 400 or b"content-type: application/json" in whole)
        if found != statuses or not told:
            wrong.append(f"{sent!r} got {found}: {why}")
    assert not wrong, "\n".join(wrong)


async def test_a_stream_to_http_1_0_has_no_chunks(port: int) -> None:
    found, whole = await said(port, "GET /v1/books:watch?count=1 HTTP/1.0")
    head, _, body = whole.partition(b"\r\n\r\n")
    assert found == [200]
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert body.startswith(b"id: 1\n")
    assert body.endswith(b"\n\n")
    _, whole = await said(port, "GET /v1/books/x HTTP/1.0")
    assert whole.endswith(b"}")
    assert b"content-length: " in whole


async def let_go(raw: Raw) -> bytes:
    """What was said before the server ended the connection, however it did."""
    whole = b""
    with contextlib.suppress(ConnectionError):
        whole = await asyncio.wait_for(raw.rest(), timeout=60)
    await raw.close()
    return whole


async def test_a_head_without_end_is_cut(port: int) -> None:
    raw = await Raw.dial(port)
    raw.writer.write(f"{BOOK}\r\nHost: t\r\nX-A: ".encode())
    with pytest.raises(ConnectionError):
        for _ in range(1000):
            raw.writer.write(b"a" * 16_384)
            await raw.writer.drain()
    await let_go(raw)


async def test_who_is_too_slow_with_a_head_is_let_go(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.05)
    assert b"HTTP/1.1 408 " in await let_go(await Raw.dial(port)), "who says nothing at all"
    for begun in ("GET /v1/books/x HT", f"{BOOK}\r\nHost: t\r\n\r\nGET /v1"):
        raw = await Raw.dial(port)
        raw.writer.write(begun.encode())
        await let_go(raw)


async def test_a_request_that_is_there_has_all_the_time(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    for _ in range(20):  # on a machine that stands still a head may come too late, too
        waiting = await Raw.dial(port)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await waiting.send("GET /v1/books:watch?count=1&hold=true HTTP/1.1")
            await waiting.until(b"\n\n")
            break
    await let_go(await Raw.dial(port))
    assert not waiting.reader.at_eof()
    await waiting.close()
