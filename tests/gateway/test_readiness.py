"""The probe's page says what grpc.health.v1 says, wherever the servicers are."""

from __future__ import annotations

from typing import Any

import grpc
from gateway_servicers import Library, register
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from harness import in_memory, made

from gateway import GatewayOptions

OPTIONS = GatewayOptions(readiness_path="/readyz")
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def test_it_follows_the_health_of_the_server(library: Library, backend: str) -> None:
    health = health_aio.HealthServicer()

    def all_of_them(server: Any) -> None:
        register(library, server)
        health_pb2_grpc.add_HealthServicer_to_server(health, server)

    async with made(backend, all_of_them, options=OPTIONS) as gateway, in_memory(gateway) as client:
        told = []
        for status in (NOT_SERVING, SERVING, NOT_SERVING):
            await health.set("", status)
            reply = await client.get("/readyz")
            told.append((reply.status_code, reply.json()["status"], reply.headers["cache-control"]))
        assert told == [
            (503, "NOT_SERVING", "no-store"),
            (200, "SERVING", "no-store"),
            (503, "NOT_SERVING", "no-store"),
        ]
        assert (await client.head("/readyz")).status_code == 503
        assert (await client.post("/readyz")).status_code == 404
        await health.set("", SERVING)
        gateway.drain()
        assert (await client.get("/readyz")).status_code == 503, "the gateway itself is going away"


async def test_a_server_without_health_is_ready_when_it_answers(library: Library, backend: str) -> None:
    serving = made(backend, lambda server: register(library, server), options=OPTIONS)
    async with serving as gateway, in_memory(gateway) as client:
        assert (await client.get("/readyz")).json() == {"status": "SERVING"}


async def test_a_server_that_is_gone_or_broken_is_not_ready() -> None:
    from gateway import Channel, Gateway

    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        gateway = Gateway(backend=Channel(channel), services=["test.library.v1.LibraryService"], options=OPTIONS)
        async with in_memory(gateway) as client:
            reply = await client.get("/readyz")
    assert (reply.status_code, reply.json()) == (503, {"status": "NOT_SERVING"})


async def test_there_is_no_such_page_unless_asked_for(client: Any) -> None:
    assert (await client.get("/readyz")).status_code == 404
