"""WebSockets with habits: who speaks first, frames that are none, slow readers, going away."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import habits_pb2_grpc
import httpx
import pytest
from checklist import covers
from habit_servicer import Habits
from harness import in_memory, made, served
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway import GatewayOptions


@pytest.fixture
def habits() -> Habits:
    return Habits()


@pytest.fixture
async def gateway(habits: Habits, backend: str) -> AsyncIterator[Any]:
    def register(server: Any) -> None:
        habits_pb2_grpc.add_HabitServiceServicer_to_server(habits, server)

    options = GatewayOptions(slow_reader_seconds=0.05, max_body_bytes=1000, first_message_seconds=60)
    async with made(backend, register, options=options) as gateway:
        yield gateway


@pytest.fixture
async def url(gateway: Any) -> AsyncIterator[str]:
    async with served(gateway) as port:
        yield f"ws://127.0.0.1:{port}/h"


async def closed(connection: ClientConnection) -> tuple[int | None, str | None]:
    with pytest.raises(ConnectionClosed):
        while True:
            await connection.recv()
    return connection.close_code, connection.close_reason


async def test_the_server_speaks_first_and_sees_the_token_of_the_query(url: str) -> None:
    async with connect(f"{url}/talk/lobby?token=t1") as talk:
        assert json.loads(await talk.recv()) == {"room": "", "text": "welcome Bearer t1", "bad": ""}
        await talk.send('{"text": "hi"}')
        assert json.loads(await talk.recv())["text"] == "re: hi"


async def test_the_head_of_the_request_comes_before_any_frame(url: str) -> None:
    async with connect(f"{url}/meet/lobby") as talk:
        assert json.loads(await talk.recv())["text"] == "lobby: "
        await talk.send('{"text": "hi"}')
        assert json.loads(await talk.recv())["text"] == "lobby: hi"


@covers("MethodRules.speaks_first", "MethodRules.head_first")
@pytest.mark.parametrize(
    ("path", "first", "why"),
    [
        ("talk/lobby?token=t2", "welcome Bearer t2", "it speaks first, to whom the query names"),
        ("meet/lobby", "lobby: ", "the first message of the request is made of its head alone"),
    ],
)
async def test_what_comes_before_any_frame(url: str, path: str, first: str, why: str) -> None:
    async with connect(f"{url}/{path}") as talk:
        assert json.loads(await talk.recv())["text"] == first, why


async def test_a_call_that_is_refused_is_answered_before_the_upgrade(url: str) -> None:
    with pytest.raises(InvalidStatus) as error:
        async with connect(f"{url}/talk/lobby?token=nobody"):
            pass
    assert error.value.response.status_code == 404
    assert json.loads(error.value.response.body or b"") == {"detail": {}, "message": "no such room"}
    assert error.value.response.headers["content-type"] == "application/json"


async def test_a_plain_get_is_426_in_the_routes_envelope(gateway: Any) -> None:
    async with in_memory(gateway) as client:
        for path in ("/h/talk/lobby", "/h/talk/lobby/?token=nobody"):
            reply = await client.get(path)
            assert (reply.status_code, reply.headers["upgrade"]) == (426, "websocket")
            assert reply.json() == {"detail": {}, "message": "this is served over WebSocket"}
        options = await client.options("/h/talk/lobby")
        assert (options.status_code, options.headers["allow"]) == (200, "GET, OPTIONS")
        wrong = await client.post("/h/talk/lobby")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, OPTIONS")


@covers("MethodRules.bad_frame_field")
@pytest.mark.parametrize("frame", ["not JSON", "[1]", '{"text": 5}', '{"nope": 1}', b"\xff\xfe", '{"text": "a"} b'])
async def test_a_frame_that_is_none_reaches_the_servicer_and_keeps_the_connection(url: str, frame: str | bytes) -> None:
    async with connect(f"{url}/talk/lobby") as talk:
        await talk.recv()
        await talk.send(frame)
        told = json.loads(await talk.recv())
        shown = frame if isinstance(frame, str) else frame.decode(errors="replace")
        assert told == {"room": "lobby", "text": "invalid", "bad": shown}
        await talk.send('{"text": "still here"}')
        assert json.loads(await talk.recv())["text"] == "re: still here"


async def test_frames_may_be_taken_as_they_are(url: str) -> None:
    async with connect(f"{url}/echo/n") as talk:
        for frame in ("not JSON", '{"a": 1', "ü"):
            await talk.send(frame)
            assert json.loads(await talk.recv()) == {"name": "n", "content": frame, "contentType": ""}


async def test_a_frame_over_the_cap_closes_with_1009(url: str) -> None:
    async with connect(f"{url}/echo/n") as talk:
        await talk.send("x" * 1001)
        assert (await closed(talk))[0] == 1009


async def test_an_empty_frame_ends_the_clients_side(url: str) -> None:
    async with connect(f"{url}/echo/n") as talk:
        await talk.send("")
        assert await closed(talk) == (1000, "")


@covers("MethodRules.close_slow_reader")
@pytest.mark.parametrize(
    ("path", "told", "why"),
    [("flood", (1013, "RESOURCE_EXHAUSTED: the client reads too slowly"), "its queue is full, and the RPC says so")],
)
async def test_a_slow_reader_is_closed(url: str, habits: Habits, path: str, told: tuple[int, str], why: str) -> None:
    async with connect(f"{url}/{path}", max_queue=1, compression=None) as flood:
        await asyncio.wait_for(habits.flood_ended.wait(), timeout=60)
        assert await closed(flood) == told, why


async def test_going_away_is_told(url: str, gateway: Any) -> None:
    async with connect(f"{url}/talk/lobby") as talk:
        await talk.recv()
        gateway.drain()
        assert await closed(talk) == (1013, "UNAVAILABLE: the server is shutting down")


async def test_a_client_that_leaves_is_no_error(url: str, habits: Habits, caplog: pytest.LogCaptureFixture) -> None:
    talk = await connect(f"{url}/flood")
    await talk.recv()
    talk.transport.abort()
    await asyncio.wait_for(habits.flood_ended.wait(), timeout=60)
    with contextlib.suppress(Exception):
        await talk.close()
    assert not [record for record in caplog.records if record.name.startswith("gateway")]


async def test_websocket_routes_are_no_http_routes(url: str) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        assert (await client.get(f"{url.replace('ws:', 'http:')}/talk/x")).status_code == 426
