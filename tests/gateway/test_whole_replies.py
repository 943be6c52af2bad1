"""The extension of ASGI by which a reply goes to the server as one message, and what servers without it get."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from gateway_servicers import Library, capture
from harness import Raw

from gateway import Gateway, GatewayOptions
from gateway.whole_replies import WHOLE_REPLY, lines, pair
from runner_service.cycle import Outgoing
from runner_service.http import HttpServer

REQUESTS = [
    ("GET", "/v1/books/x", "a plain reply"),
    ("HEAD", "/v1/books/x", "no body"),
    ("GET", "/v1/books/missing", "an error"),
    ("GET", "/v1/nothing", "no route"),
    ("OPTIONS", "/v1/books/x", "204, of which no length is told"),
    ("GET", "/v1/books/shaped", "headers of the servicer's own"),
    ("GET", "/openapi.json", "a document, packed"),
]


async def told(gateway: Gateway, method: str, path: str, **extensions: Any) -> list[dict[str, Any]]:
    """What a server of these extensions is told."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()  # the client stays, and says no more
        raise AssertionError

    headers = [(b"host", b"t"), (b"x-request-id", b"r1"), (b"accept-encoding", b"gzip")]
    path, _, query = path.partition("?")
    scope = {"type": "http", "http_version": "1.1", "method": method, "path": path, "query_string": query.encode()}
    await gateway(scope | {"headers": headers, "extensions": extensions}, receive, send)
    return sent


@pytest.mark.parametrize("options", [GatewayOptions(), GatewayOptions(cors_origins=("*",))])
async def test_both_ways_say_the_same(library: Library, options: GatewayOptions) -> None:
    gateway = Gateway(handlers=capture(library), options=options)
    for method, path, why in REQUESTS:
        start, body = await told(gateway, method, path)
        (whole,) = await told(gateway, method, path, **{WHOLE_REPLY: {}})
        assert whole == {
            "type": WHOLE_REPLY,
            "status": start["status"],
            "head": lines(start["headers"]),
            "body": body["body"],
        }, why


async def test_a_stream_goes_the_usual_way(library: Library) -> None:
    sent = await told(Gateway(handlers=capture(library)), "GET", "/v1/books:watch?count=1", **{WHOLE_REPLY: {}})
    assert WHOLE_REPLY not in {message["type"] for message in sent}


async def test_our_server_offers_it(library: Library) -> None:
    gateway, kinds = Gateway(handlers=capture(library)), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def noted(message: dict[str, Any]) -> None:
            kinds.append(message["type"])
            await send(message)

        await gateway(scope, receive, noted)

    server = HttpServer(app)
    address = await server.listen("127.0.0.1:0")
    await server.start()
    raw = await Raw.dial(int(address.rpartition(":")[2]))
    requests = [("HEAD", "/v1/books/x", ""), ("GET", "/v1/nothing", ""), ("GET", "/v1/books/x", "Connection: close")]
    for method, path, header in requests:
        await raw.send(f"{method} {path} HTTP/1.1\n{header}")
    whole = await asyncio.wait_for(raw.rest(), timeout=20)
    await raw.close()
    await server.stop(grace=1)
    head_only, error, last = whole.split(b"HTTP/1.1 ")[1:]
    assert kinds == [WHOLE_REPLY] * 3
    assert head_only.startswith(b"200 OK\r\ndate: ")
    assert head_only.endswith(b"\r\n\r\n")
    assert error.startswith(b"404 Not Found\r\n")
    assert b"\r\nconnection: close\r\n\r\n{" in last


@pytest.mark.parametrize("interrupt", ["shutdown", "_cut"])
async def test_a_reply_that_waits_for_the_end_of_its_turn_is_not_lost(interrupt: str) -> None:
    reply = {"type": WHOLE_REPLY, "status": 200, "head": b"content-length: 4\r\n", "body": b"late"}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(reply)
        for connection in tuple(server._server.server_state.connections):
            getattr(connection, interrupt)()

    server = HttpServer(app)
    address = await server.listen("127.0.0.1:0")
    await server.start()
    raw = await Raw.dial(int(address.rpartition(":")[2]))
    await raw.send("GET / HTTP/1.1")
    whole = await asyncio.wait_for(raw.rest(), timeout=20)
    await raw.close()
    await server.stop(grace=1)
    assert whole.startswith(b"HTTP/1.1 200 OK\r\n")
    assert whole.partition(b"\r\n\r\n")[2].startswith(b"late")
    assert (b"HTTP/1.1 408 " in whole) == (interrupt == "_cut")


def test_replies_of_one_turn_leave_behind_it_and_none_to_who_has_gone() -> None:
    class Transport(asyncio.Transport):
        closing = False

        def is_closing(self) -> bool:
            return self.closing

        def write(self, data: Any) -> None:
            written.append(data)

    async def turn() -> list[bytes]:
        outgoing, gone = Outgoing(), Transport()
        outgoing.put(Transport(), b"a")
        outgoing.put(gone, b"b")
        outgoing.put(Transport(), b"c")
        gone.closing = True
        before = list(written)
        await asyncio.sleep(0)
        return before

    written: list[bytes] = []
    assert asyncio.run(turn()) == []
    assert written == [b"a", b"c"]


@pytest.mark.parametrize("header", [("x-a", "b\r\nx-c: d"), ("x-a\r\nb", "c"), ("x a", "b"), ("x-a", "\0")])
def test_no_header_breaks_out_of_its_line(header: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="is no header"):
        pair(header)
