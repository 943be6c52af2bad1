"""Unary calls: what is sent, what is retried, what errors say; and the facade without a loop."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import grpc
import pytest
from command_line import CommandLine
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from scripted_server import ScriptedServer, exited, job_id

import runner_client
from runner.v1.command_service_pb2 import RunCommandRequest
from runner.v1.job_pb2 import Job, JobSpec, Step
from runner.v1.job_service_pb2 import CancelJobRequest, CreateJobRequest, ListJobsRequest, WaitJobRequest
from runner.v1.runner_pb2 import Runner
from runner_client import (
    AsyncClient,
    Client,
    ClientError,
    DeadlineExceeded,
    FieldViolation,
    InvalidArgument,
    InvalidTarget,
    InvalidTls,
    PermissionDenied,
    ResourceExhausted,
    ServerFault,
    Tls,
    Unauthenticated,
    Unavailable,
)
from runner_client.channel import parse_target
from runner_client.retry import Retry


async def test_token_is_sent_with_every_call(server: ScriptedServer, client: AsyncClient) -> None:
    await client.run(["true"])
    await client.list_runners()
    assert [metadata["authorization"] for _, metadata in server.calls] == ["Bearer key-1"] * len(server.calls)


async def test_retried_mutation_keeps_its_request_id(server: ScriptedServer, client: AsyncClient) -> None:
    server.failures_after += [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED]
    command = await client.run(["true"])
    assert command.job_id == job_id(1)
    assert len({request.request_id for request in server.asked(RunCommandRequest)}) == 1
    await client.run(["true"])
    assert len({request.request_id for request in server.asked(RunCommandRequest)}) == 2
    server.cancel_ends = False
    for _ in range(2):
        await client.cancel(job_id(1))
    assert len({request.request_id for request in server.asked(CancelJobRequest)} - {""}) == 2


async def test_job_arrives_as_it_was_asked_for(server: ScriptedServer, client: AsyncClient) -> None:
    spec = JobSpec(steps=[Step(script="make")], timeout=Duration(seconds=5))
    job = await client.create_job(spec, priority=3, tags={"a": "b"})
    [request] = server.asked(CreateJobRequest)
    assert (request.spec, request.priority, dict(request.tags)) == (spec, 3, {"a": "b"})
    assert (await client.get_job(job.job_id)).spec == spec


async def test_jobs_are_listed_over_all_pages(server: ScriptedServer, client: AsyncClient) -> None:
    server.page_limit = 2
    ids = [server.add_job() for _ in range(5)]
    assert [job.job_id async for job in client.list_jobs()] == ids[::-1]
    server.calls.clear()
    assert [job.job_id async for job in client.list_jobs(limit=3)] == ids[:1:-1]
    assert [request.page_size for request in server.asked(ListJobsRequest)] == [3, 1]


async def test_wait_goes_on_until_the_job_has_ended(server: ScriptedServer, client: AsyncClient) -> None:
    job = server.add_job()
    waiting = asyncio.create_task(client.wait(job))
    await server.following.wait()
    await server.stop()
    await server.start()
    server.finish(job, exited(1))
    assert (await waiting).state == Job.STATE_FAILED
    assert len(server.asked(WaitJobRequest)) >= 1


async def test_runners_are_listed(server: ScriptedServer, client: AsyncClient) -> None:
    server.runners = [Runner(runner_id="r1", name="one")]
    assert [runner.name for runner in await client.list_runners()] == ["one"]


STATUSES = [
    (grpc.StatusCode.INVALID_ARGUMENT, InvalidArgument),
    (grpc.StatusCode.UNAUTHENTICATED, Unauthenticated),
    (grpc.StatusCode.PERMISSION_DENIED, PermissionDenied),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, ResourceExhausted),
    (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceeded),
    (grpc.StatusCode.INTERNAL, ServerFault),
    (grpc.StatusCode.UNIMPLEMENTED, ServerFault),
]


@pytest.mark.parametrize(("code", "kind"), STATUSES)
async def test_status_becomes_an_error_of_the_tree(
    server: ScriptedServer, client: AsyncClient, code: grpc.StatusCode, kind: type[ClientError]
) -> None:
    server.failures.append((code, "because", []))
    with pytest.raises(kind, match="because"):
        await client.run(["true"])


async def test_details_of_an_error_are_kept(server: ScriptedServer, client: AsyncClient) -> None:
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(1_500)
    violation = error_details_pb2.BadRequest.FieldViolation(field="argv", description="is empty")
    details = [
        error_details_pb2.ErrorInfo(reason="QUEUE_FULL", metadata={"limit": "10"}),
        error_details_pb2.BadRequest(field_violations=[violation]),
        retry,
    ]
    server.failures.append((grpc.StatusCode.RESOURCE_EXHAUSTED, "The queue is full.", details))
    with pytest.raises(ResourceExhausted) as caught:
        await client.run([])
    error = caught.value
    assert (error.reason, error.metadata, error.retry_after) == ("QUEUE_FULL", {"limit": "10"}, 1.5)
    assert error.violations == (FieldViolation("argv", "is empty"),)
    assert error.message == "The queue is full."


async def test_server_that_was_never_there_is_given_up_soon(server: ScriptedServer) -> None:
    await server.stop()
    async with AsyncClient(server.target, patience=3_600, connect_patience=0) as client:
        with pytest.raises(Unavailable):
            await client.run(["true"])


async def test_unix_socket_is_dialled(tmp_path: Path) -> None:
    server = ScriptedServer()
    await server.start(f"unix:{tmp_path}/s")
    async with AsyncClient(f"unix:{tmp_path}/s") as client:
        assert (await client.run(["true"])).job_id == job_id(1)
    await server.stop()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
async def test_tls_is_checked_with_the_named_certificates(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    make += [
        "-subj",
        "/CN=lab",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    subprocess.run(make, check=True, capture_output=True)
    server = ScriptedServer()
    await server.start(tls=(key.read_bytes(), certificate.read_bytes()))
    async with AsyncClient(server.target, tls=Tls(certificate)) as client:
        assert (await client.run(["true"])).job_id == job_id(1)
    async with AsyncClient(server.target, tls=Tls(), connect_patience=0) as client:
        with pytest.raises(Unavailable):
            await client.run(["true"])
    ended = await CommandLine(server)("ps")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert ended.err.startswith(f"runner: The server at {server.target} speaks TLS: give --tls-ca FILE")
    await server.stop()


class Clock:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def retry_on(clock: Clock, patience: float) -> Retry:
    return Retry(patience, clock=clock, sleep=clock.sleep, uniform=lambda low, high: high)


async def test_pauses_grow_to_a_cap_and_end_with_patience() -> None:
    clock = Clock()
    retry = retry_on(clock, 10.0)
    with pytest.raises(Unavailable):
        while True:
            await retry.pause(Unavailable())
    assert clock.slept == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0]


async def test_progress_gives_patience_back() -> None:
    clock = Clock()
    retry = retry_on(clock, 1.0)
    for _ in range(20):
        await retry.pause(Unavailable())
        retry.progress()
        clock.now += 100
    assert clock.slept == [0.1] * 20


async def test_server_says_when_to_come_back() -> None:
    clock = Clock()
    await retry_on(clock, 10.0).pause(Unavailable(retry_after=3.0))
    assert clock.slept == [3.0]


async def test_what_cannot_be_retried_is_raised_at_once() -> None:
    clock = Clock()
    with pytest.raises(InvalidArgument):
        await retry_on(clock, 10.0).pause(InvalidArgument())
    assert clock.slept == []


@pytest.mark.parametrize(
    ("target", "address"),
    [
        ("127.0.0.1:50051", "127.0.0.1:50051"),
        ("lab", "lab:50051"),
        ("[::1]:7", "[::1]:7"),
        ("[::1]", "[::1]:50051"),
        ("unix:/run/x.sock", "unix:/run/x.sock"),
    ],
)
def test_target_forms(target: str, address: str) -> None:
    assert parse_target(target) == address


@pytest.mark.parametrize("target", ["", "http://lab:80", "lab:", "lab:x", "lab:0", "lab:65536", "a b", "unix:"])
def test_what_is_no_target_is_refused(target: str) -> None:
    with pytest.raises(InvalidTarget):
        parse_target(target)


async def test_missing_certificates_are_an_error_of_the_tree(tmp_path: Path) -> None:
    with pytest.raises(InvalidTls, match="cannot read the certificates"):
        AsyncClient("lab", tls=Tls(tmp_path / "none.pem"))


def test_every_name_that_is_offered_is_there() -> None:
    for name in runner_client.__all__:
        assert getattr(runner_client, name).__name__ == name
    with pytest.raises(AttributeError):
        _ = runner_client.nothing  # type: ignore[attr-defined]


async def test_facade_without_a_loop_makes_the_same_calls(server: ScriptedServer) -> None:
    def script(_: object) -> None:
        server.logs[job_id(1)].append(stdout=b"out")
        server.finish(job_id(1), exited())

    server.on_run = script

    def work() -> tuple[str, bytes]:
        with Client(server.target) as client:
            command = client.call(AsyncClient.run, ["true"], timeout=5)
            messages = list(client.each(AsyncClient.follow, command.job_id))
        return command.job_id, b"".join(record.data for message in messages for record in message.records)

    assert await asyncio.to_thread(work) == (job_id(1), b"out")
