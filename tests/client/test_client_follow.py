"""Following and watching: streams that are cut go on behind their last message."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from scripted_server import Cut, ScriptedServer, exited, job_id

from runner.v1.job_pb2 import Job, JobEvent
from runner.v1.job_service_pb2 import WatchJobsRequest
from runner.v1.log_pb2 import LogRecord
from runner.v1.log_stream_service_pb2 import StreamLogsRequest, StreamLogsResponse
from runner.v1.outcome_pb2 import Outcome
from runner_client import AsyncClient, NotFound, Unavailable


def filled(server: ScriptedServer, words: bytes) -> str:
    job = server.add_job()
    for number in range(len(words)):
        server.logs[job].append(stdout=words[number : number + 1])
    return job


async def read(client: AsyncClient, job: str, cursor: str = "") -> tuple[bytes, StreamLogsResponse]:
    data, last = b"", StreamLogsResponse()
    async for last in client.follow(job, cursor=cursor):
        data += b"".join(record.data for record in last.records)
    return data, last


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, None])
async def test_cut_stream_resumes_without_gap_or_duplicate(
    server: ScriptedServer, client: AsyncClient, code: grpc.StatusCode | None
) -> None:
    job = filled(server, b"abcdef")
    server.finish(job, exited(3))
    server.cuts += [Cut(2, code), Cut(0, code), Cut(3, code)]
    data, last = await read(client, job)
    assert data == b"abcdef"
    assert last.end.outcome.exit_code == 3
    assert [request.cursor for request in server.asked(StreamLogsRequest)] == ["", "c2", "c2", "c5"]


async def test_follower_begins_behind_the_cursor_it_is_given(server: ScriptedServer, client: AsyncClient) -> None:
    job = filled(server, b"abc")
    server.finish(job, exited())
    assert (await read(client, job, cursor="c2"))[0] == b"c"


async def test_stream_filter_is_sent_again_on_resume(server: ScriptedServer, client: AsyncClient) -> None:
    job = filled(server, b"ab")
    server.finish(job, exited())
    server.cuts.append(Cut(1))
    async for _ in client.follow(job, streams=[LogRecord.STREAM_STDERR]):
        pass
    assert all(list(item.streams) == [LogRecord.STREAM_STDERR] for item in server.asked(StreamLogsRequest))
    assert len(server.asked(StreamLogsRequest)) == 2


async def test_reader_without_follow_stops_at_what_is_there(server: ScriptedServer, client: AsyncClient) -> None:
    job = filled(server, b"ab")
    messages = [message async for message in client.follow(job, follow=False)]
    assert b"".join(record.data for message in messages for record in message.records) == b"ab"
    assert messages[-1].end.state == Job.STATE_RUNNING


async def test_refusal_ends_the_stream_with_its_error(client: AsyncClient) -> None:
    with pytest.raises(NotFound) as caught:
        await read(client, "nope")
    assert caught.value.reason == "JOB_NOT_FOUND"
    assert caught.value.metadata == {"job_id": "nope"}


async def test_server_that_stays_away_ends_the_stream(server: ScriptedServer) -> None:
    job = filled(server, b"a")
    async with AsyncClient(server.target, patience=0.3) as client:
        stream = client.follow(job)
        assert (await anext(stream)).cursor == "c1"
        await server.stop()
        with pytest.raises(Unavailable):
            await anext(stream)


async def test_follower_that_leaves_ends_its_call(server: ScriptedServer, client: AsyncClient) -> None:
    job = filled(server, b"a")

    async def first() -> None:
        async for _ in client.follow(job):
            server.following.clear()

    task = asyncio.create_task(first())
    await server.following.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_watch_resumes_behind_its_last_event(server: ScriptedServer, client: AsyncClient) -> None:
    kinds = ["created", "assigned", "running", "finished"]
    server.events = [
        JobEvent(sequence=10 * number, job_id=job_id(1), kind=kind) for number, kind in enumerate(kinds, 1)
    ]
    server.cuts += [Cut(1), Cut(2, None)]
    assert [event.kind async for event in client.watch(job_id(1))] == kinds
    assert [request.after for request in server.asked(WatchJobsRequest)] == [0, 10, 30]


async def test_run_and_stream_hands_out_both_outputs(server: ScriptedServer, client: AsyncClient) -> None:
    def script(log: object) -> None:
        server.logs[job_id(1)].append(stdout=b"out", stderr=b"err")
        server.finish(job_id(1), Outcome(kind=Outcome.KIND_EXITED, exit_code=9))

    server.on_run = script
    out: list[bytes] = []
    err: list[bytes] = []
    end = await client.run_and_stream(["any"], stdout=out.append, stderr=err.append, timeout=5)
    assert (out, err, end.outcome.exit_code) == ([b"out"], [b"err"], 9)
