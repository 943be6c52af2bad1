"""How long a connection of our server is kept, and the body of a request in however many pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from harness import Raw

from runner_service.connections import HttpConnection
from runner_service.http import HttpServer


class Echo:
    """Answers with the body, or waits before it does."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.asked = asyncio.Event()
        self.left: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, message = b"", {"more_body": True}
        while message.get("more_body"):
            message = await receive()
            body += message["body"]
        self.asked.set()
        await self.may_answer.wait()
        head = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})
        self.left.append((await receive())["type"])


@pytest.fixture
def echo() -> Echo:
    return Echo()


class Server(HttpServer):
    """Knows where it listens."""

    port = 0

    async def dial(self) -> Raw:
        return await Raw.dial(self.port)


@pytest.fixture
async def server(echo: Echo) -> AsyncIterator[Server]:
    server = Server(echo)
    server.port = int((await server.listen("127.0.0.1:0")).rpartition(":")[2])
    await server.start()
    yield server
    await server.stop(grace=0)


def only_connection(server: Server) -> HttpConnection:
    (connection,) = server._server.server_state.connections
    assert isinstance(connection, HttpConnection)
    return connection


async def test_who_says_nothing_after_a_reply_is_let_go(server: Server) -> None:
    server._server.config.timeout_keep_alive = 0  # at the next turn of the loop
    raw = await server.dial()
    await raw.send("GET / HTTP/1.1")
    whole = await asyncio.wait_for(raw.rest(), timeout=60)
    await raw.close()
    assert whole.startswith(b"HTTP/1.1 200 OK")


async def test_the_timer_of_a_pause_that_is_over_ends_nothing(server: Server, echo: Echo) -> None:
    raw = await server.dial()
    await raw.send("GET / HTTP/1.1")
    await raw.until(b"\r\n\r\n")
    connection = only_connection(server)
    before = connection.timeout_keep_alive_task
    assert before is not None
    connection.timeout_keep_alive_handler()
    assert not connection.transport.is_closing(), "the pause has only begun"
    assert connection.timeout_keep_alive_task not in (None, before), "its end is waited for"
    echo.may_answer.clear()
    echo.asked.clear()
    await raw.send("GET / HTTP/1.1")
    await asyncio.wait_for(echo.asked.wait(), timeout=60)
    connection.timeout_keep_alive = 0
    connection.timeout_keep_alive_handler()
    assert not connection.transport.is_closing(), "a request is under way"
    echo.may_answer.set()
    assert (await asyncio.wait_for(raw.rest(), timeout=60)).startswith(b"HTTP/1.1 200 OK")
    await raw.close()


async def test_a_body_is_whole_in_however_many_pieces(server: Server, echo: Echo) -> None:
    raw = await server.dial()
    for pieces in ([b"a"], [b"a", b"bc"], [b"a", b"b", b"c", b"d"]):
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        raw.writer.write(b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
        head = await raw.until(b"\r\n\r\n")
        body = b"".join(pieces)
        assert b"content-length: %d" % len(body) in head
        assert await raw.reader.readexactly(len(body)) == body
    await raw.close()
    assert set(echo.left) <= {"http.disconnect"}


async def test_who_waits_for_a_client_to_leave_hears_of_it(server: Server, echo: Echo) -> None:
    echo.may_answer.clear()
    raw = await server.dial()
    await raw.send("GET / HTTP/1.1")
    await asyncio.wait_for(echo.asked.wait(), timeout=60)
    cycle = only_connection(server).cycle
    assert cycle is not None
    waiters = [asyncio.create_task(cycle.receive()) for _ in range(2)]
    await asyncio.sleep(0)  # both have begun
    await raw.close()
    left = await asyncio.wait_for(asyncio.gather(*waiters), timeout=60)
    assert [message["type"] for message in left] == ["http.disconnect"] * 2
    echo.may_answer.set()


async def test_a_server_forgets_the_tasks_of_requests_that_are_over(server: Server) -> None:
    raw = await server.dial()
    for _ in range(3):
        await raw.send("GET / HTTP/1.1")
        await raw.until(b"\r\n\r\n")
    await raw.close()
    tasks = server._server.server_state.tasks
    await asyncio.wait_for(asyncio.gather(*tasks), timeout=60)
    assert not tasks


@pytest.mark.parametrize("begun", [False, True])
async def test_an_application_that_fails_is_a_500_or_a_reply_that_breaks_off(begun: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        raise RuntimeError("on purpose")

    server = Server(app)
    server.port = int((await server.listen("127.0.0.1:0")).rpartition(":")[2])
    await server.start()
    raw = await server.dial()
    await raw.send("GET / HTTP/1.1")
    said = await asyncio.wait_for(raw.rest(), timeout=60)
    await raw.close()
    await server.stop(grace=0)
    assert said.startswith(b"HTTP/1.1 200 " if begun else b"HTTP/1.1 500 ")
    assert said.endswith(b"\r\n\r\n" if begun else b"\r\n\r\nInternal Server Error")
