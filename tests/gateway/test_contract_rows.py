"""Rows of the contract that no other table is about; clients that leave, over all backends."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import Any

import httpx
import pytest
from checklist import covers
from gateway_servicers import Library, register
from harness import Raw, made, served
from websockets.asyncio.client import connect

PREFLIGHT = {"origin": "https://a.example", "access-control-request-method": "GET"}


@covers("response-body", "head-options", "method-override", "put-patch")
@pytest.mark.parametrize(
    ("ask", "sent", "status", "told", "why"),
    [
        ("GET /v1/titles", {}, 200, "[]", "response_body: an empty list prints"),
        ("GET /v1/titles?subjects=a", {}, 200, '["a"]', "response_body: a list by itself"),
        ("GET /e/verb/x:cancel", {}, 200, '{"stringValue":"verb x","int32Value":0,"tags":[]}', "a nested field"),
        ("HEAD /v1/books/x", {}, 200, "", "HEAD is GET without its body"),
        ("HEAD /v1/books/missing", {}, 404, "", "and has its status"),
        ("OPTIONS /v1/books/x", {}, 204, "", "OPTIONS has no body"),
        ("OPTIONS /v1/nothing", {}, 404, None, "and no path of its own"),
        ("POST /v1/books/x", {"headers": {"x-http-method-override": "DELETE"}}, 405, None, "POST stays POST"),
        ("GET /v1/books/x?_method=DELETE", {}, 400, None, "there is no such parameter either"),
        ("PATCH /v1/books/b", {"json": {"title": "T"}}, 200, '"updateMask":"title"', "the keys of the body"),
        ("PATCH /v1/books/b", {"json": {"author": {"born": None}}}, 200, '"updateMask":"author.born"', "nulls too"),
        ("PATCH /v1/books/b?updateMask=x", {"json": {}}, 200, '"updateMask":"x"', "a given mask stays"),
        (
            "PUT /v1/books/b/record",
            {"json": {"title": "T", "labels": {"a": "b"}}},
            200,
            '"updateMask":"title,labels"',
            "PUT, too",
        ),
        ("PUT /v1/books/b/record?updateMask=x", {"json": {"title": "T"}}, 200, '"updateMask":"x"', "PUT keeps it, too"),
        ("PUT /v1/records", {"json": {"book": {"title": "T"}}}, 200, '"updateMask":"book.title"', "of the whole body"),
        (
            "PUT /v1/records",
            {"json": {"book": {"title": "T"}, "updateMask": "book.name"}},
            200,
            '"updateMask":"book.name"',
            "a mask in the body stays",
        ),
    ],
)
async def test_the_row_holds(
    client: httpx.AsyncClient, ask: str, sent: dict[str, Any], status: int, told: str | None, why: str
) -> None:
    method, _, url = ask.partition(" ")
    reply = await client.request(method, url, **sent)
    assert reply.status_code == status, why
    assert told is None or (told in reply.text if method in ("PATCH", "PUT") else reply.text == told), why


@covers("openapi", "additional-bindings")
@pytest.mark.parametrize(
    ("path", "method", "why"),
    [
        ("/v1/books/{name}", "get", "an additional binding is an operation"),
        ("/v1/shelves/{name_1}/books/{name_2}", "get", "a variable of several segments is several parameters"),
        ("/e/tail/{string_value}/end", "get", "`**` with a literal tail"),
        ("/e/verb/{string_value}:cancel", "get", "a verb"),
        ("/e/body/deep", "put", "a nested body"),
        ("/v1/books:watch", "get", "a stream"),
        ("/v1/rooms/{room}/chat", "get", "a WebSocket"),
    ],
)
async def test_the_document_has_the_operation(client: httpx.AsyncClient, path: str, method: str, why: str) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert method in paths.get(path, {}), why


@covers("client-leaves")
@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/v1/books/hang", "a unary call that is not answered yet"),
        ("/v1/books:watch?hold=true", "a stream before its first message"),
        ("/v1/books:watch?hold=true&count=1", "a stream under way"),
        ("/v1/books/held/content", "a download"),
        ("PUT /v1/books/x/content", "an upload"),
        ("ws:/v1/rooms/lobby/events?hold=true&count=1", "a WebSocket"),
    ],
)
async def test_the_servicer_is_cancelled_when_its_client_leaves(
    library: Library, backend: str, path: str, why: str
) -> None:
    async with made(backend, functools.partial(register, library)) as gateway, served(gateway) as port:
        if path.startswith("ws:"):
            socket = await connect(f"ws://127.0.0.1:{port}{path[3:]}")
            await socket.recv()
            await asyncio.wait_for(library.waiting.wait(), timeout=60)
            socket.transport.abort()
            with contextlib.suppress(Exception):
                await socket.close()
        else:
            connection = await Raw.dial(port)
            ask = path if " " in path else f"GET {path}"
            body = b"" if ask.startswith("GET") else b"x" * 100_000
            await connection.send(f"{ask} HTTP/1.1" + ("\nContent-Length: 9000000" if body else ""), body)
            await asyncio.wait_for(library.waiting.wait(), timeout=60)
            await connection.close()
        await asyncio.wait_for(library.cancelled.wait(), timeout=60)
