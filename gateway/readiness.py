"""Whether the servers behind the gateway take work: ``grpc.health.v1`` as an HTTP probe reads it."""

from __future__ import annotations

import asyncio

import orjson
from google.rpc import code_pb2
from grpc_health.v1 import health_pb2

from gateway.call import Call
from gateway.dispatch import Backend
from gateway.errors import Failure
from gateway.http_reply import HttpReply
from gateway.request import HttpRequest

METHOD = "/grpc.health.v1.Health/Check"
PATIENCE_SECONDS = 5.0
"""A server that has not said by then how it is does not take work."""

_SERVING, _NOT_SERVING = "SERVING", "NOT_SERVING"


async def readiness(backend: Backend, request: HttpRequest, request_id: str, *, draining: bool) -> HttpReply:
    """200 for SERVING, else 503. A server without the health service is ready when it answers at all."""
    status = _NOT_SERVING if draining else await _ask(backend, request, request_id)
    headers = [("content-type", "application/json"), ("cache-control", "no-store")]
    return HttpReply(200 if status == _SERVING else 503, orjson.dumps({"status": status}), headers)


def _no_metadata(*_: object) -> tuple[()]:
    return ()


async def _ask(backend: Backend, request: HttpRequest, request_id: str) -> str:
    call = Call(METHOD, "", request, request_id, _no_metadata)
    call.deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    try:
        answer = await backend.unary(call, health_pb2.HealthCheckRequest())
    except Failure as failure:
        return _SERVING if failure.code == code_pb2.UNIMPLEMENTED else _NOT_SERVING
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
