"""`runner exec`, as a process: bytes, exit codes, signals, readers that go away, servers that restart."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import grpc
import pytest
from command_line import CommandLine
from google.rpc import error_details_pb2
from scripted_server import Cut, Log, ScriptedServer, exited, job_id

from runner.v1.command_service_pb2 import RunCommandRequest
from runner.v1.job_pb2 import Job
from runner.v1.job_service_pb2 import CancelJobRequest
from runner.v1.log_pb2 import LogRecord
from runner.v1.log_stream_service_pb2 import StreamLogsRequest
from runner.v1.outcome_pb2 import Outcome

ALL_BYTES = bytes(range(256)) * 300


def ends_with(server: ScriptedServer, outcome: Outcome, state: Job.State.ValueType | None = None) -> None:
    def finish(_: Log) -> None:
        server.finish(job_id(len(server.jobs)), outcome, state)

    server.on_run = finish


async def test_output_is_byte_exact_and_nothing_is_added(server: ScriptedServer, runner: CommandLine) -> None:
    def script(log: Log) -> None:
        log.append(stdout=ALL_BYTES)
        log.append(stdout=b"one", stderr=ALL_BYTES[::-1])
        log.append(stdout=b"two")
        log.add(LogRecord(stream=LogRecord.STREAM_SYSTEM, data=b"a sentence of the service"))
        server.finish(job_id(1), exited(7))

    server.on_run = script
    ended = await runner("exec", "--", "any")
    assert ended.stdout == ALL_BYTES + b"onetwo"
    assert ended.stderr == ALL_BYTES[::-1]
    assert ended.code == 7


LIMITS = ("--cpus", "1.5", "--memory", "512M", "--processes", "100")


async def test_what_is_asked_for_reaches_the_server(server: ScriptedServer, runner: CommandLine) -> None:
    ends_with(server, exited())
    ended = await runner(
        *("--token", "key-1", "exec", "-e", "A=1", "--env", "B=x=y", "--cwd", "/srv", "--timeout", "1m30s"),
        *(
            "--label",
            "os=linux",
            "--tag",
            "who=me",
            "--priority",
            "5",
            *LIMITS,
            "--",
            "sh",
            "-c",
            "echo $1",
            "--",
            "-x",
        ),
    )
    assert ended.code == 0
    [(request, metadata)] = [call for call in server.calls if isinstance(call[0], RunCommandRequest)]
    assert isinstance(request, RunCommandRequest)
    assert list(request.argv) == ["sh", "-c", "echo $1", "--", "-x"]
    assert dict(request.environment) == {"A": "1", "B": "x=y"}
    assert request.working_directory == "/srv"
    assert (request.limits.cpus, request.limits.memory_bytes, request.limits.processes) == (1.5, 512 << 20, 100)
    assert request.timeout.seconds == 90
    assert dict(request.required_labels) == {"os": "linux"}
    assert dict(request.tags) == {"who": "me"}
    assert request.priority == 5
    assert request.request_id
    assert metadata["authorization"] == "Bearer key-1"


async def test_a_command_needs_no_dashes_before_it(server: ScriptedServer, runner: CommandLine) -> None:
    ends_with(server, exited())
    await runner("exec", "ls", "-l", "--json")
    assert list(server.asked(RunCommandRequest)[0].argv) == ["ls", "-l", "--json"]


OUTCOMES = [
    (exited(0), None, 0, ""),
    (exited(255), None, 255, ""),
    (Outcome(kind=Outcome.KIND_SIGNALED, signal=15), None, 143, ""),
    (Outcome(kind=Outcome.KIND_TIMED_OUT, detail="run"), Job.STATE_TIMED_OUT, 124, "time was over"),
    (Outcome(kind=Outcome.KIND_TIMED_OUT, detail="queue"), Job.STATE_TIMED_OUT, 124, "waited too long"),
    (Outcome(kind=Outcome.KIND_OUT_OF_MEMORY), None, 137, "memory"),
    (Outcome(kind=Outcome.KIND_OUT_OF_DISK), None, 137, "disk"),
    (Outcome(kind=Outcome.KIND_CANCELLED, detail="user"), Job.STATE_CANCELLED, 130, ""),
    (Outcome(kind=Outcome.KIND_REFUSED, detail="COMMAND_NOT_FOUND", message="nope: not found"), None, 127, "nope"),
    (Outcome(kind=Outcome.KIND_REFUSED, detail="COMMAND_NOT_EXECUTABLE", message="no: not x"), None, 126, "not x"),
    (Outcome(kind=Outcome.KIND_REFUSED, detail="TOO_LARGE"), None, 126, "TOO_LARGE"),
    (Outcome(kind=Outcome.KIND_REFUSED, detail="WORKING_DIRECTORY", message="no such directory"), None, 125, "such"),
    (Outcome(kind=Outcome.KIND_LOST, detail="lease_expired"), Job.STATE_LOST, 125, "not heard of"),
    (Outcome(kind=Outcome.KIND_INFRASTRUCTURE, detail="prepare"), None, 125, "the runner failed"),
]


@pytest.mark.parametrize(("outcome", "state", "code", "sentence"), OUTCOMES)
async def test_exit_code_is_that_of_a_shell(
    server: ScriptedServer,
    runner: CommandLine,
    outcome: Outcome,
    state: Job.State.ValueType | None,
    code: int,
    sentence: str,
) -> None:
    ends_with(server, outcome, state)
    ended = await runner("exec", "--", "any")
    assert ended.code == code
    assert ended.stdout == b""
    if sentence:
        assert ended.err.startswith("runner: ") and sentence in ended.err
    else:
        assert ended.err == ""


async def test_output_comes_while_the_command_runs(server: ScriptedServer, runner: CommandLine) -> None:
    process = await runner.start("exec", "--", "any")
    await server.ran.wait()
    assert process.stdout is not None and process.stderr is not None
    server.logs[job_id(1)].append(stdout=b"no newline")
    assert await process.stdout.readexactly(10) == b"no newline"
    server.logs[job_id(1)].append(stderr=b"!")
    assert await process.stderr.readexactly(1) == b"!"
    server.finish(job_id(1), exited(3))
    assert (await runner.end(process)).code == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_first_interrupt_cancels_and_streams_to_the_end(
    server: ScriptedServer, runner: CommandLine, number: signal.Signals
) -> None:
    server.cancel_ends = False
    process = await runner.start("exec", "--", "any")
    await server.following.wait()
    process.send_signal(number)
    await server.cancelled.wait()
    server.logs[job_id(1)].append(stdout=b"last words")
    server.finish(job_id(1), Outcome(kind=Outcome.KIND_CANCELLED), Job.STATE_CANCELLED)
    ended = await runner.end(process)
    assert (ended.code, ended.stdout, ended.stderr) == (130, b"last words", b"")
    assert server.asked(CancelJobRequest)[0].reason == f"the caller got {number.name}"


async def test_second_interrupt_leaves_at_once(server: ScriptedServer, runner: CommandLine) -> None:
    server.cancel_ends = False
    process = await runner.start("exec", "--", "any")
    await server.following.wait()
    process.send_signal(signal.SIGINT)
    await server.cancelled.wait()
    process.send_signal(signal.SIGINT)
    ended = await runner.end(process)
    assert (ended.code, ended.stdout, ended.stderr) == (130, b"", b"")


async def test_interrupt_is_heard_while_nobody_reads(server: ScriptedServer, runner: CommandLine) -> None:
    reading, writing = os.pipe()
    process = await runner.start("exec", "--", "any", stdout=writing)
    os.close(writing)
    await server.following.wait()
    server.logs[job_id(1)].append(stdout=bytes(1 << 20))
    async with asyncio.timeout(60):
        await asyncio.to_thread(os.read, reading, 1)
    process.send_signal(signal.SIGINT)
    await server.cancelled.wait()
    os.close(reading)
    assert (await runner.end(process)).code in (130, 141)


async def test_reader_that_goes_away_cancels_quietly(server: ScriptedServer, runner: CommandLine) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = await runner.start("exec", "--", "yes", stdout=writing)
    os.close(writing)
    await server.ran.wait()
    server.logs[job_id(1)].append(stdout=b"y\n")
    await server.cancelled.wait()
    ended = await runner.end(process)
    assert (ended.code, ended.stderr) == (141, b"")


async def test_full_disk_is_said_and_cancels(server: ScriptedServer, runner: CommandLine) -> None:
    with Path("/dev/full").open("wb") as full:
        process = await runner.start("exec", "--", "yes", stdout=full)
    await server.ran.wait()
    server.logs[job_id(1)].append(stdout=b"y\n")
    ended = await runner.end(process)
    assert ended.code == 125
    assert ended.err == "runner: cannot write the output: No space left on device\n"
    assert server.cancelled.is_set()


async def test_following_survives_a_restart_of_the_server(server: ScriptedServer, runner: CommandLine) -> None:
    process = await runner.start("exec", "--", "any")
    await server.following.wait()
    assert process.stdout is not None
    server.logs[job_id(1)].append(stdout=b"before ")
    assert await process.stdout.readexactly(7) == b"before "
    await server.stop()
    server.logs[job_id(1)].append(stdout=b"meanwhile ")
    await server.start()
    server.logs[job_id(1)].append(stdout=b"after")
    server.finish(job_id(1), exited(4))
    ended = await runner.end(process)
    assert (ended.code, ended.stdout, ended.stderr) == (4, b"meanwhile after", b"")
    assert [request.cursor for request in server.asked(StreamLogsRequest)] == ["", "c1"]


async def test_a_lost_reply_does_not_run_the_command_twice(server: ScriptedServer, runner: CommandLine) -> None:
    ends_with(server, exited())
    server.failures_after.append(grpc.StatusCode.UNAVAILABLE)
    assert (await runner("exec", "--", "any")).code == 0
    assert len(server.jobs) == 1
    assert len({request.request_id for request in server.asked(RunCommandRequest)}) == 1


async def test_a_gap_is_said(server: ScriptedServer, runner: CommandLine) -> None:
    def script(log: Log) -> None:
        log.append(stdout=b"head ")
        log.add(LogRecord(stream=LogRecord.STREAM_GAP, gap_bytes=12_345))
        log.append(stdout=b"tail")
        server.finish(job_id(1), exited())

    server.on_run = script
    ended = await runner("exec", "--", "any")
    assert ended.stdout == b"head tail"
    assert ended.err.startswith("runner: 12345 bytes of output are missing here")


async def test_detach_prints_the_id_alone(server: ScriptedServer, runner: CommandLine) -> None:
    ended = await runner("exec", "--detach", "--", "any")
    assert (ended.code, ended.out, ended.err) == (0, f"{job_id(1)}\n", "")


async def test_json_is_a_line_for_each_record_and_the_end(server: ScriptedServer, runner: CommandLine) -> None:
    def script(log: Log) -> None:
        log.append(stdout=b"\xff", stderr=b"e")
        server.finish(job_id(1), exited(2))

    server.on_run = script
    ended = await runner("exec", "--json", "--", "any")
    first, second, end = map(json.loads, ended.out.splitlines())
    assert first == {"stream": "STREAM_STDOUT", "data": "/w==", "attemptId": "attempt-1"}
    assert second == {"stream": "STREAM_STDERR", "data": "ZQ==", "attemptId": "attempt-1", "cursor": "c1"}
    assert end == {
        "end": {"state": "STATE_FAILED", "outcome": {"kind": "KIND_EXITED", "exitCode": 2}, "complete": True}
    }
    assert ended.code == 2


async def test_a_cut_stream_is_resumed_where_it_was(server: ScriptedServer, runner: CommandLine) -> None:
    server.cuts += [Cut(1), Cut(1, None), Cut(0, grpc.StatusCode.CANCELLED)]

    def script(log: Log) -> None:
        for word in (b"a", b"b", b"c"):
            log.append(stdout=word)
        server.finish(job_id(1), exited())

    server.on_run = script
    assert (await runner("exec", "--", "any")).stdout == b"abc"
    assert [request.cursor for request in server.asked(StreamLogsRequest)] == ["", "c1", "c2", "c2"]


async def test_no_server_is_a_sentence_that_says_how_to_start_one(server: ScriptedServer, runner: CommandLine) -> None:
    await server.stop()
    ended = await runner("exec", "--", "true")
    assert ended.code == 125
    assert ended.err.startswith(f"runner: no server answers at {server.target} (")
    assert "`runner serve`" in ended.err and ended.err.count("\n") == 1


async def test_a_file_that_cannot_be_read_is_a_wrong_command_line(runner: CommandLine) -> None:
    ended = await runner("exec", "--input", "/no/such", "--", "true")
    # Not 1, which would be the command's own.
    assert (ended.code, ended.err) == (2, "runner: cannot read /no/such: No such file or directory — name a file\n")


async def test_a_refused_field_is_named(server: ScriptedServer, runner: CommandLine) -> None:
    violation = error_details_pb2.BadRequest.FieldViolation(field="working_directory", description="must be absolute")
    details = [error_details_pb2.BadRequest(field_violations=[violation])]
    server.failures.append((grpc.StatusCode.INVALID_ARGUMENT, "The request is not valid.", [*details]))
    ended = await runner("exec", "--cwd", "x", "--", "true")
    assert ended.code == 125
    assert ended.err == "runner: The request is not valid; working_directory: must be absolute\n"
