"""A job that waits says why on stderr, once for each reason."""

from __future__ import annotations

import asyncio
import json

import pytest
from command_line import CommandLine
from google.protobuf.timestamp_pb2 import Timestamp
from scripted_server import ScriptedServer, exited, job_id

from runner.v1.job_pb2 import Job
from runner.v1.job_service_pb2 import GetJobRequest
from runner_client.cli.waiting import MOST_SECONDS, WaitingNotice, advice_for
from runner_client.errors import Unavailable

LABELS, AWAY, NO_ROOM = (
    Job.WAITING_REASON_LABELS,
    Job.WAITING_REASON_RUNNERS_AWAY,
    Job.WAITING_REASON_NO_ROOM,
)
RUNNING = Job(state=Job.STATE_RUNNING)
ENDED = Job(state=Job.STATE_FAILED, finish_time=Timestamp(seconds=1))


def waits(reason: Job.WaitingReason.ValueType, sentence: str = "because") -> Job:
    return Job(state=Job.STATE_QUEUED, waiting_reason=reason, waiting=sentence)


class Looks:
    """A server that is looked at, and the clock between the looks."""

    def __init__(self, *found: Job) -> None:
        self._found = iter(found)
        self.pauses: list[float] = []
        self.said: list[str] = []

    async def get_job(self, job_id: str) -> Job:
        found = next(self._found, None)
        if found is None:
            raise Unavailable("away")
        return found

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def watch(self, after: float = 5.0) -> None:
        notice = WaitingNotice(
            self,  # type: ignore[arg-type]
            after=after,
            say=lambda job: self.said.append(job.waiting),
            sleep=self.sleep,
        )
        await notice.watch("j")


async def test_each_reason_is_said_once() -> None:
    looks = Looks(waits(LABELS, "a"), waits(LABELS, "b"), waits(NO_ROOM, "c"), waits(NO_ROOM, "d"), waits(LABELS, "e"))
    await looks.watch()
    assert looks.said == ["a", "c", "e"]
    assert looks.pauses == [5.0] * 6


async def test_a_server_that_gives_no_reason_is_known_by_its_sentences() -> None:
    looks = Looks(waits(Job.WAITING_REASON_UNSPECIFIED, "a"), waits(Job.WAITING_REASON_UNSPECIFIED, "a"))
    await looks.watch()
    assert looks.said == ["a"]


async def test_what_runs_is_looked_at_ever_less_and_said_again_when_it_is_queued_again() -> None:
    looks = Looks(waits(AWAY, "a"), *[RUNNING] * 6, waits(AWAY, "b"), ENDED)
    await looks.watch()
    assert looks.said == ["a", "b"]
    assert looks.pauses == [5.0, 5.0, 10.0, 20.0, 40.0, MOST_SECONDS, MOST_SECONDS, MOST_SECONDS, 5.0]


@pytest.mark.parametrize("number", [number for number in Job.WaitingReason.values() if number])
def test_there_is_advice_for_all_that_does_not_pass_by_itself(number: Job.WaitingReason.ValueType) -> None:
    passing = (Job.WAITING_REASON_RETRY_DELAY, Job.WAITING_REASON_NEXT)
    assert bool(advice_for(waits(number))) is (number not in passing)


def test_a_container_wants_an_engine_more_than_a_label() -> None:
    job = waits(LABELS)
    job.spec.container.image = "debian:12"
    assert "Docker engine" in advice_for(job)


@pytest.mark.parametrize(
    "arguments", [("exec", "--", "any"), ("logs", "-f"), ("wait",), ("retry", "-f"), ("retry", "-w")]
)
async def test_every_command_that_waits_says_it(
    server: ScriptedServer, runner: CommandLine, arguments: tuple[str, ...]
) -> None:
    follows = arguments[0] in ("logs", "wait")
    if arguments[0] == "retry":
        server.finish(server.add_job(), exited(1))
    waiting = waits(LABELS, "no runner has the labels")
    job = server.add_job(waiting) if follows else job_id(len(server.jobs) + 1)
    server.on_run = lambda log: server.jobs[job].MergeFrom(waiting)
    line = arguments if arguments[0] == "exec" else (*arguments, job_id(1))
    process = await runner.start("--notice-after", "1ms", *line)
    async with asyncio.timeout(60):
        assert process.stderr is not None
        said = b""
        while b"waits" not in said:
            said += await process.stderr.readline()
        # It is looked at again, and the same is not said again.
        looks = len(server.asked(GetJobRequest))
        while len(server.asked(GetJobRequest)) < looks + 3:
            await asyncio.sleep(0.01)
    server.jobs[job].ClearField("waiting")
    server.finish(job, exited(3))
    ended = await runner.end(process)
    assert (ended.code, ended.out.count("waits")) == (0 if arguments[0] == "logs" else 3, 0)
    assert f"runner: job {job} waits: no runner has the labels — `runner runners` shows their labels" in said.decode()
    assert "waits" not in ended.err


async def test_with_json_it_is_json_and_with_zero_nothing(server: ScriptedServer, runner: CommandLine) -> None:
    job = server.add_job(waits(NO_ROOM, "all 2 slots are taken"))
    process = await runner.start("logs", "-f", "--json", "--notice-after", "1ms", job)
    async with asyncio.timeout(60):
        assert process.stderr is not None
        told = json.loads(await process.stderr.readline())
    assert told == {"jobId": job, "waiting": "all 2 slots are taken", "waitingReason": "WAITING_REASON_NO_ROOM"}
    quiet = await runner.start("logs", "-f", job, env={"RUNNER_NOTICE_AFTER": "0"})
    server.following.clear()
    server.finish(job, exited())
    assert (await runner.end(process)).err == (await runner.end(quiet)).err == ""
