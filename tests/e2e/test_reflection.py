"""The gRPC port as people meet it: `buf curl` by reflection, health, both reflection versions."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path

import grpc.aio
import pytest
from e2e_server import ServerProcess
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

BUF = Path(sys.executable).parent / "buf"
NATIVE = {f"runner.v1.{name}Service" for name in ("Command", "Job", "Runner", "LogStream", "Dispatch")}


async def _buf(server: ServerProcess, *arguments: str) -> str:
    if not BUF.exists() and shutil.which("buf") is None:
        pytest.skip("buf (pip: buf-bin) is not installed")
    process = await asyncio.create_subprocess_exec(
        str(BUF),
        "curl",
        "--http2-prior-knowledge",
        "--protocol",
        "grpc",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


@pytest.mark.parametrize("version", ["grpc-v1", "grpc-v1alpha"])
async def test_buf_curl_lists_the_services(server: ServerProcess, version: str) -> None:
    out = await _buf(server, "--reflect-protocol", version, "--list-services", f"http://{server.grpc}")
    assert set(out.split()) >= NATIVE | {"grpc.health.v1.Health"}


async def test_buf_curl_lists_the_methods_of_all_services(server: ServerProcess) -> None:
    out = await _buf(server, "--list-methods", f"http://{server.grpc}")
    assert {"runner.v1.CommandService/RunCommand", "grpc.reflection.v1.ServerReflection/ServerReflectionInfo"} <= set(
        out.split()
    )


async def test_buf_curl_runs_a_command_and_follows_its_log(server: ServerProcess) -> None:
    url = f"http://{server.grpc}/runner.v1."
    argv = ["sh", "-c", "echo one; sleep 0.2; echo two >&2"]
    out = await _buf(server, "-d", json.dumps({"argv": argv}), f"{url}CommandService/RunCommand")
    job_id = json.loads(out)["command"]["jobId"]
    request = json.dumps({"jobId": job_id, "follow": True, "encoding": "LOG_ENCODING_TEXT"})
    out = await _buf(server, "-d", request, f"{url}LogStreamService/StreamLogs")
    messages, at, decoder = [], 0, json.JSONDecoder()
    while at < len(out.rstrip()):
        message, at = decoder.raw_decode(out, at)
        messages.append(message)
        at += len(out[at:]) - len(out[at:].lstrip())
    records = [record for message in messages for record in message.get("records", [])]
    assert [(record["stream"], record["text"]) for record in records] == [
        ("STREAM_STDOUT", "one\n"),
        ("STREAM_STDERR", "two\n"),
    ]
    assert messages[-1]["end"]["state"] == "STATE_SUCCEEDED"


async def test_health_says_serving_for_the_whole_and_each_service(server: ServerProcess) -> None:
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", *NATIVE):
            reply = await health.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
            assert reply.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await health.Check(health_pb2.HealthCheckRequest(service="no.such.Service"), timeout=60)
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_gives_whole_files(server: ServerProcess, version: str) -> None:
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        call = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        symbols = [reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in sorted(NATIVE)]
        replies = [reply async for reply in call(iter(symbols), timeout=60)]
    assert len(replies) == len(symbols)
    assert all(reply.file_descriptor_response.file_descriptor_proto for reply in replies)


async def test_an_unknown_method_is_unimplemented(server: ServerProcess) -> None:
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await channel.unary_unary("/runner.v1.JobService/NoSuch")(b"", timeout=60)
    assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED
