"""Compressed replies: for whom, of what, and never streams."""

from __future__ import annotations

import gzip
from typing import Any

import httpx
import pytest
import zstandard
from checklist import covers

from gateway.compression import compressed
from gateway.request import HttpRequest

BODY = b'{"text": "' + b"again and " * 400 + b'"}'


def reply(accept: str | None, *headers: tuple[str, str], body: bytes = BODY) -> tuple[bytes, dict[str, str]]:
    given = [] if accept is None else [(b"accept-encoding", accept.encode())]
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": given}
    packed, told = compressed(HttpRequest(scope), body, list(headers) or [("content-type", "application/json")])
    return packed, dict(told)


@covers("cors-compression")
@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip", "gzip"),
        ("zstd", "zstd"),
        ("gzip, zstd", "zstd"),
        ("gzip;q=1.0, zstd;q=0.5", "gzip"),
        ("*", "zstd"),
        ("*;q=0, gzip", "gzip"),
        ("GZIP", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=x", None),
        ("br, deflate", None),
        ("identity", None),
        ("", None),
        (None, None),
    ],
)
def test_the_client_chooses(accept: str | None, coding: str | None) -> None:
    body, headers = reply(accept)
    assert (headers.get("content-encoding"), headers["vary"]) == (coding, "Accept-Encoding")
    unpack = {"gzip": gzip.decompress, "zstd": zstandard.ZstdDecompressor().decompress, None: bytes}[coding]
    assert unpack(body) == BODY
    assert (len(body) < 200) is (coding is not None)


@pytest.mark.parametrize(
    ("content_type", "packed"),
    [
        ("application/json; charset=utf-8", True),
        ("application/problem+json", True),
        ("text/html", True),
        ("image/svg+xml", True),
        ("application/octet-stream", False),
        ("application/gzip", False),
        ("image/png", False),
        ("", False),
    ],
)
def test_only_what_gets_smaller_is_compressed(content_type: str, packed: bool) -> None:
    assert ("content-encoding" in reply("gzip", ("content-type", content_type))[1]) is packed


def test_what_is_compressed_already_or_a_part_stays_as_it_is() -> None:
    for name in ("content-encoding", "content-range"):
        body, headers = reply("gzip", ("content-type", "text/plain"), (name, "x"))
        assert (body, headers[name]) == (BODY, "x")


def test_a_strong_etag_becomes_weak_and_vary_is_kept() -> None:
    _, headers = reply("gzip", ("content-type", "text/plain"), ("etag", '"a"'), ("vary", "Origin"))
    assert (headers["etag"], headers["vary"]) == ('W/"a"', "Origin, Accept-Encoding")


async def test_short_replies_and_streams_are_never_compressed(client: httpx.AsyncClient) -> None:
    async with client.stream("GET", "/v1/books/x", headers={"accept-encoding": "gzip"}) as short:
        assert "content-encoding" not in short.headers
    async with client.stream("GET", "/v1/books:watch?count=200", headers={"accept-encoding": "gzip"}) as events:
        assert "content-encoding" not in events.headers
    long = {"title": "x" * 2000}
    async with client.stream("POST", "/v1/shelves/s/books", json=long, headers={"accept-encoding": "gzip"}) as book:
        raw = b"".join([piece async for piece in book.aiter_raw()])
    assert (book.headers["content-encoding"], book.headers["content-length"]) == ("gzip", str(len(raw)))
    assert len(raw) < 300
