"""The guard in a real gRPC server: every shape of call is admitted, and ends with a status that says why."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from runner.gateway.v1 import options_pb2
from runner_service.domain.errors import JobNotFound
from runner_service.rpc.access import Gatekeeper, Rule, current_principal
from runner_service.rpc.interceptors import GuardInterceptor
from runner_service.services.auth import ApiKey, Auth, Role

SHAPES = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


async def _requests(request: Any) -> bytes:
    if isinstance(request, bytes):
        return request
    return b"".join([part async for part in request])


async def _do(what: bytes, context: Any) -> bytes:
    match what:
        case b"not-found":
            raise JobNotFound(job_id="the-id")
        case b"fault":
            raise ValueError("a text that is nobody's business")
        case b"abort":
            await context.abort(grpc.StatusCode.DATA_LOSS, "said by the servicer")
    return current_principal.get().name.encode()


async def _unary(request: Any, context: Any) -> bytes:
    return await _do(await _requests(request), context)


async def _stream(request: Any, context: Any) -> AsyncIterator[bytes]:
    what = await _requests(request)
    yield b"first"
    yield await _do(what, context)


@pytest.fixture
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    makers = {shape: getattr(grpc, f"{shape}_rpc_method_handler") for shape in SHAPES}
    handlers = {shape: make(_stream if shape.endswith("stream") else _unary) for shape, make in makers.items()}
    rules = {f"/test.Service/{shape}": Rule(options_pb2.ACCESS_REQUIRED, Role.VIEWER) for shape in SHAPES}
    auth = Auth(keys=[ApiKey.of("key", name="ann", role=Role.VIEWER)], workers=None)  # type: ignore[arg-type]
    guard = GuardInterceptor(Gatekeeper(auth=auth, rules=rules, require_auth=False, insecure=False))
    server = grpc.aio.server(interceptors=[guard])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Service", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened
    await server.stop(0)


async def _call(channel: grpc.aio.Channel, shape: str, what: bytes, token: str | None = "key") -> list[bytes]:
    call = getattr(channel, shape)(f"/test.Service/{shape}")
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    # A refusal comes before the stream is read: a second write that meets it makes grpc.aio's client say INTERNAL,
    # "Internal error from Core", in place of what the server said.
    parts = [what[:3], what[3:]] if token == "key" else [what]
    request: Any = iter(parts) if shape.startswith("stream") else what
    if shape.endswith("unary"):
        return [await call(request, metadata=metadata, timeout=60)]
    return [part async for part in call(request, metadata=metadata, timeout=60)]


async def _fails(channel: grpc.aio.Channel, shape: str, what: bytes, token: str | None = "key") -> tuple[Any, Any, str]:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await _call(channel, shape, what, token)
    status = rpc_status.from_call(failed.value)
    info = error_details_pb2.ErrorInfo()
    if status is not None:
        status.details[0].Unpack(info)
    return failed.value.code(), failed.value.details(), info.reason


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_good_credential_is_let_in_and_known(channel: grpc.aio.Channel, shape: str) -> None:
    assert (await _call(channel, shape, b"nothing"))[-1] == b"ann"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("token", "reason"), [(None, "CREDENTIALS_MISSING"), ("bad", "CREDENTIALS_INVALID")])
async def test_no_and_bad_credentials_are_told_apart(
    channel: grpc.aio.Channel, shape: str, token: str | None, reason: str
) -> None:
    code, _, found = await _fails(channel, shape, b"nothing", token)
    assert (code, found) == (grpc.StatusCode.UNAUTHENTICATED, reason)


@pytest.mark.parametrize("shape", SHAPES)
async def test_an_error_of_the_domain_becomes_its_status(channel: grpc.aio.Channel, shape: str) -> None:
    code, message, reason = await _fails(channel, shape, b"not-found")
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")
    assert "the-id" in message


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_fault_of_ours_is_logged_and_not_shown(
    channel: grpc.aio.Channel, shape: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        code, message, reason = await _fails(channel, shape, b"fault")
    assert (code, reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "nobody's business" not in message
    assert "nobody's business" in caplog.text


@pytest.mark.parametrize("shape", SHAPES)
async def test_what_a_servicer_aborts_with_stands(channel: grpc.aio.Channel, shape: str) -> None:
    code, message, _ = await _fails(channel, shape, b"abort")
    assert (code, message) == (grpc.StatusCode.DATA_LOSS, "said by the servicer")
