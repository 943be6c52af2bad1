"""Ranges, ETags and lengths of downloads, streamed and whole."""

from __future__ import annotations

import httpx
import pytest
from checklist import covers
from harness import Raw, served

from gateway import Gateway
from gateway.downloads import Slicer, deliver
from gateway.request import HttpRequest

WHOLE = bytes(n % 256 for n in range(1000))


@covers("downloads")
@pytest.mark.parametrize(
    ("asked", "status", "start", "end", "told"),
    [
        pytest.param(None, 200, 0, 1000, None, id="no range"),
        pytest.param("bytes=0-99", 206, 0, 100, "bytes 0-99/1000", id="first piece"),
        pytest.param("bytes=150-349", 206, 150, 350, "bytes 150-349/1000", id="across pieces"),
        pytest.param("bytes=900-", 206, 900, 1000, "bytes 900-999/1000", id="to the end"),
        pytest.param("bytes=990-2000", 206, 990, 1000, "bytes 990-999/1000", id="beyond the end"),
        pytest.param("bytes=-10", 206, 990, 1000, "bytes 990-999/1000", id="the last bytes"),
        pytest.param("bytes=-5000", 206, 0, 1000, "bytes 0-999/1000", id="more than there is"),
        pytest.param("bytes=999-999", 206, 999, 1000, "bytes 999-999/1000", id="one byte"),
        pytest.param("bytes=1000-", 416, 0, 0, "bytes */1000", id="behind the end"),
        pytest.param("bytes=-0", 416, 0, 0, "bytes */1000", id="nothing"),
        pytest.param("bytes=5-2", 200, 0, 1000, None, id="backwards: ignored"),
        pytest.param("bytes=0-1,5-6", 200, 0, 1000, None, id="several: ignored"),
        pytest.param("lines=1-2", 200, 0, 1000, None, id="other units: ignored"),
        pytest.param("bytes=-", 200, 0, 1000, None, id="nonsense: ignored"),
        pytest.param("bytes=٣-5", 200, 0, 1000, None, id="digits that are none: ignored"),
    ],
)
async def test_ranges_of_streams(
    client: httpx.AsyncClient, asked: str | None, status: int, start: int, end: int, told: str | None
) -> None:
    headers = {} if asked is None else {"range": asked.encode()}
    reply = await client.get("/v1/books/measured/content", headers=headers)
    assert (reply.status_code, reply.headers.get("content-range")) == (status, told)
    assert reply.content == WHOLE[start:end]
    assert reply.headers["content-length"] == str(end - start)
    assert (reply.headers["accept-ranges"], reply.headers["etag"]) == ("bytes", '"v1"')
    assert reply.headers["content-disposition"] == 'attachment; filename="b.bin"'


@covers("downloads")
@pytest.mark.parametrize(
    ("name", "value", "status", "size"),
    [
        pytest.param("if-none-match", '"v1"', 304, 0, id="the same"),
        pytest.param("if-none-match", 'W/"v1"', 304, 0, id="the same, weakly"),
        pytest.param("if-none-match", '"v0", "v1"', 304, 0, id="one of several"),
        pytest.param("if-none-match", "*", 304, 0, id="any"),
        pytest.param("if-none-match", '"v0"', 200, 1000, id="another"),
        pytest.param("if-range", '"v1"', 206, 10, id="a range of the same"),
        pytest.param("if-range", '"v0"', 200, 1000, id="no range of another"),
        pytest.param("if-range", 'W/"v1"', 200, 1000, id="no range by a weak name"),
    ],
)
async def test_conditions(client: httpx.AsyncClient, name: str, value: str, status: int, size: int) -> None:
    headers = {name: value, **({"range": "bytes=0-9"} if name == "if-range" else {})}
    reply = await client.get("/v1/books/measured/content", headers=headers)
    assert (reply.status_code, len(reply.content)) == (status, size)
    if status == 304:
        assert "content-length" not in reply.headers
        assert reply.headers["etag"] == '"v1"'


async def test_head_tells_the_length(client: httpx.AsyncClient) -> None:
    reply = await client.head("/v1/books/measured/content")
    assert (reply.status_code, reply.content) == (200, b"")
    assert (reply.headers["content-length"], reply.headers["accept-ranges"]) == ("1000", "bytes")


async def test_streams_of_unknown_length_have_no_ranges(client: httpx.AsyncClient) -> None:
    reply = await client.get("/v1/books/x/content", headers={"range": "bytes=0-1"})
    assert (reply.status_code, reply.content) == (200, b"one\x00two\xff")
    assert "content-length" not in reply.headers


async def test_whole_replies_have_ranges_and_etags_too(client: httpx.AsyncClient) -> None:
    part = await client.get("/v1/books/x/cover", headers={"range": "bytes=1-3"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"PNG", "bytes 1-3/5")
    assert (await client.get("/v1/books/etag/cover", headers={"if-none-match": '"c1"'})).status_code == 304
    assert (await client.get("/v1/books/x/cover", headers={"range": "bytes=5-"})).status_code == 416
    # JSON has ETags where the servicer gives them, but no ranges.
    book = await client.get("/v1/books/shaped", headers={"range": "bytes=0-1", "if-none-match": '"2"'})
    assert (book.status_code, book.headers["etag"]) == (203, '"1"')


@pytest.mark.parametrize(("name", "size"), [("short", 1000), ("long", 300)])
async def test_a_wrong_length_never_looks_complete(gateway: Gateway, name: str, size: int) -> None:
    """Too short: the connection is cut before the announced length. Too long: what is beyond it is not sent."""
    async with served(gateway) as port:
        raw = await Raw.dial(port)
        await raw.send(f"GET /v1/books/{name}/content HTTP/1.1\nConnection: close")
        head = await raw.head()
        assert f"content-length: {2000 if name == 'short' else 300}" in head
        assert await raw.rest() == WHOLE[:size]
        await raw.close()


def test_a_slicer_passes_on_what_it_can_as_it_is() -> None:
    slicer, piece = Slicer(0, 10), b"12345"
    assert slicer.cut(piece) is piece
    assert not slicer.complete
    assert (slicer.cut(b"6789012"), slicer.complete) == (b"67890", True)


def test_only_whole_successes_are_cut() -> None:
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"range", b"bytes=0-1")]}
    assert deliver(HttpRequest(scope), 200, [], 10).status == 200
    assert deliver(HttpRequest({**scope, "method": "GET"}), 206, [], 10).status == 206
    assert deliver(HttpRequest({**scope, "method": "GET"}), 404, [], 10).headers == []
