"""What those who watch requests are told: by template, by outcome, once."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from gateway_servicers import Library
from harness import Raw, in_memory, served
from websockets.asyncio.client import connect

from gateway import Gateway, GatewayOptions, Observation, access_log
from gateway.metrics import HttpMetrics


@pytest.fixture
def seen() -> list[Observation]:
    return []


@pytest.fixture
def metrics() -> HttpMetrics:
    return HttpMetrics()


@pytest.fixture
async def gateway(over: Any, seen: list[Observation], metrics: HttpMetrics) -> AsyncIterator[Gateway]:
    options = GatewayOptions(observers=(seen.append, metrics), documents={"/metrics": metrics.page})
    async with over(options=options) as gateway:
        yield gateway


async def test_requests_are_told_by_their_template(client: httpx.AsyncClient, seen: list[Observation]) -> None:
    await client.get("/v1/books/x", headers={"x-request-id": "r1"})
    await client.get("/v1/books/missing")
    await client.get("/v1/nothing/here")
    await client.get("/v1/books:watch?count=2")
    assert [(each.http_method, each.route, each.status) for each in seen] == [
        ("GET", "/v1/books/{name}", 200),
        ("GET", "/v1/books/{name}", 404),
        ("GET", "", 404),
        ("GET", "/v1/books:watch", 200),
    ]
    first = seen[0]
    assert (first.rpc, first.request_id) == ("/test.library.v1.LibraryService/GetBook", "r1")
    assert (first.client, first.bytes_out > 20, first.seconds > 0) == ("127.0.0.1", True, True)


async def test_a_client_that_left_is_499(gateway: Any, seen: list[Observation], library: Library) -> None:
    async with served(gateway) as port:
        raw = await Raw.dial(port)
        await raw.send("GET /v1/books/hang HTTP/1.1")
        await asyncio.wait_for(library.waiting.wait(), timeout=60)
        await raw.close()
        await asyncio.wait_for(library.cancelled.wait(), timeout=60)
    assert [(each.route, each.status) for each in seen] == [("/v1/books/{name}", 499)]


async def test_websockets_are_told_when_they_end(gateway: Any, seen: list[Observation]) -> None:
    async with served(gateway) as port, connect(f"ws://127.0.0.1:{port}/v1/rooms/lobby/events?count=2") as socket:
        frames = [frame async for frame in socket]
    assert [(each.route, each.status) for each in seen] == [("/v1/rooms/{last_event_id}/events", 101)]
    assert seen[0].bytes_out == sum(map(len, frames))


async def test_counters_are_by_template_and_bounded(client: httpx.AsyncClient) -> None:
    for name in ("a", "b", "c"):
        await client.get(f"/v1/books/{name}")
    for word in ("BREW", "WHEN"):
        await client.request(word, f"/unknown/{word}")
    page = (await client.get("/metrics")).text
    assert 'http_requests_total{code="200",method="GET",route="/v1/books/{name}"} 3.0' in page
    assert 'http_requests_total{code="404",method="OTHER",route="none"} 2.0' in page
    assert 'http_request_duration_seconds_count{method="GET",route="/v1/books/{name}"} 3.0' in page
    assert "BREW" not in page


async def test_the_access_log_is_for_people_and_machines(over: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="gateway.access"):
        async with over(options=GatewayOptions(observers=(access_log,))) as gateway, in_memory(gateway) as client:
            await client.get("/v1/books/a%20b?token=t", headers={"x-request-id": "r1"})
    (record,) = [each for each in caplog.records if each.name == "gateway.access"]
    assert re.fullmatch(r"GET /v1/books/a%20b 400 in \d+\.\d ms from 127\.0\.0\.1", record.getMessage())
    told = vars(record)
    assert (told["action"], told["route"], told["request_id"]) == ("http_request", "/v1/books/{name}", "r1")


async def test_an_event_stream_is_told_when_to_come_back(over: Any) -> None:
    async with over(options=GatewayOptions(sse_retry_seconds=2.5)) as gateway, in_memory(gateway) as client:
        events = (await client.get("/v1/books:watch?count=2")).text
    assert events.startswith("retry: 2500\nid: 1\nevent: added\n")
    assert events.count("retry:") == 1
