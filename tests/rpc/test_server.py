"""The gRPC server around its servicers."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from runner.v1.job_service_pb2_grpc import JobServiceServicer, add_JobServiceServicer_to_server
from runner_service.rpc.server import RpcServer

JOBS = "runner.v1.JobService"


def _waits() -> list[str]:
    """What gRPC waits with for calls that come."""
    names = [getattr(task.get_coro(), "__name__", "") for task in asyncio.all_tasks()]
    return [name for name in names if name.startswith("_request_")]


async def test_however_many_methods_there_are_the_server_waits_for_calls_once() -> None:
    server = RpcServer(
        registrations=[lambda door: add_JobServiceServicer_to_server(JobServiceServicer(), door)],
        services=[JOBS],
        interceptors=[],
    )
    port = await server.listen("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            for _ in range(2):
                answer = await health.Check(health_pb2.HealthCheckRequest(service=JOBS))
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert len(_waits()) == 1, _waits()
    finally:
        await server.stop(0)


class _Counting(grpc.aio.ServerInterceptor):
    """Notes which methods it was asked for, and by ``name`` each call that goes through it."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self._name, self._calls = name, calls
        self.asked: list[str] = []

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        self.asked.append(details.method)
        handler = await continuation(details)
        if handler.unary_unary is None:
            return handler

        async def counted(request: Any, context: Any) -> Any:
            self._calls.append(self._name)
            return await handler.unary_unary(request, context)

        return handler._replace(unary_unary=counted)


async def test_interceptors_are_asked_once_for_each_method_and_the_first_is_outermost() -> None:
    calls: list[str] = []
    outer, inner = _Counting("outer", calls), _Counting("inner", calls)
    server = RpcServer(registrations=[], services=[], interceptors=[outer, inner])
    port = await server.listen("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            for _ in range(2):
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            with pytest.raises(grpc.aio.AioRpcError) as unknown:
                await channel.unary_unary("/grpc.health.v1.Health/Ask")(b"")
        assert calls == ["outer", "inner"] * 2
        assert "/grpc.health.v1.Health/Check" in outer.asked
        assert sorted(outer.asked) == sorted(set(outer.asked)) == sorted(inner.asked)
        assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED
    finally:
        await server.stop(0)


async def test_a_server_that_is_not_able_to_work_says_so_and_does_not_come_back_while_it_stops() -> None:
    server = RpcServer(registrations=[], services=[], interceptors=[])
    port = await server.listen("127.0.0.1:0")
    await server.start()
    able = [True]
    watching = asyncio.create_task(server.watch(lambda: able[0], seconds=0.001))
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            heard = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            statuses = [(await heard.read()).status]
            for able[0] in (False, True):
                statuses.append((await heard.read()).status)
            await server.refuse()
            statuses.append((await heard.read()).status)
            heard.cancel()
        serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
        assert statuses == [serving, not_serving, serving, not_serving]
    finally:
        watching.cancel()
        await server.stop(0)
