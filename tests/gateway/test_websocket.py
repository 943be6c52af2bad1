"""WebSockets against a real uvicorn: frames both ways, close codes, leaving, and plain requests for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from checklist import covers
from gateway_servicers import Library
from harness import served
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway import Gateway


@pytest.fixture
async def url(gateway: Gateway) -> AsyncIterator[str]:
    """A served gateway."""
    async with served(gateway) as port:
        yield f"ws://127.0.0.1:{port}/v1/rooms"


async def test_server_streams_are_text_frames(url: str) -> None:
    async with connect(f"{url}/lobby/events?count=2") as socket:
        frames = [json.loads(frame) async for frame in socket]
    assert [(frame["sequence"], frame["kind"]) for frame in frames] == [("0", "lobby"), ("1", "lobby")]
    assert socket.close_code == 1000
    assert socket.response is not None
    assert socket.response.headers["x-request-id"]


async def test_talk_goes_both_ways_with_the_paths_variables(url: str) -> None:
    async with connect(f"{url}/lobby/chat") as socket:
        for text in ("one", "two"):
            await socket.send(json.dumps({"text": text}))
            assert json.loads(await socket.recv()) == {"room": "lobby", "text": f"re: {text}"}
        await socket.send('{"text": "bye"}')
        with pytest.raises(ConnectionClosed):
            await socket.recv()
    assert socket.close_code == 1000


@covers("websocket")
@pytest.mark.parametrize(
    ("frame", "code", "reason"),
    [
        ('{"text": "fail"}', 1013, "RESOURCE_EXHAUSTED: too loud"),
        ('{"text": 1}', 1008, "INVALID_ARGUMENT: text: expected a string, got 1"),
        ("{", 1008, "INVALID_ARGUMENT: the body is not valid JSON"),
        ('{"text": "crash"}', 1011, "INTERNAL: internal error, see request r1 in the server's log"),
    ],
)
async def test_errors_close_with_their_reason(url: str, frame: str, code: int, reason: str) -> None:
    async with connect(f"{url}/lobby/chat", additional_headers={"x-request-id": "r1"}) as socket:
        await socket.send(frame)
        with pytest.raises(ConnectionClosed):
            await socket.recv()
    assert (socket.close_code, socket.close_reason) == (code, reason)


@pytest.mark.parametrize(
    ("path", "status"), [("closed/events", 403), ("lobby/events?count=x", 400), ("lobby/nothing", 404)]
)
async def test_what_is_refused_at_once_is_refused_in_http(url: str, path: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as error:
        async with connect(f"{url}/{path}"):
            pass
    assert error.value.response.status_code == status
    assert json.loads(error.value.response.body or b"")["message"]


async def test_leaving_cancels_the_servicer(url: str, library: Library) -> None:
    async with connect(f"{url}/lobby/events?count=1&hold=true") as socket:
        await socket.recv()
        await asyncio.wait_for(library.waiting.wait(), timeout=60)
    await asyncio.wait_for(library.cancelled.wait(), timeout=60)


async def test_a_plain_get_of_a_websocket_is_426(client: httpx.AsyncClient) -> None:
    reply = await client.get("/v1/rooms/lobby/chat")
    assert (reply.status_code, reply.headers["upgrade"]) == (426, "websocket")
    assert reply.json()["details"][0]["reason"] == "UPGRADE_REQUIRED"
    assert (await client.get("/v1/rooms/lobby/events?count=1")).status_code == 200
