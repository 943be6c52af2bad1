"""The worker as a program, with real processes: killed, replaced, stopped."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from dispatched import Attempt
from worker_house import House

from runner.v1.log_pb2 import LogRecord
from runner.v1.outcome_pb2 import Outcome
from runner_service.worker.identity import local_worker_is_alive

LOUD = "import os,sys,random\nr=random.Random(7)\nfor i in range(90):\n os.write(1+i%2, r.randbytes(50_000+i))"


class Programs:
    """Workers as children: `python -m runner_service.worker`."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.started: list[asyncio.subprocess.Process] = []

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "runner_service.worker", "--data-dir", str(self.house.directory)),
            *("--server", self.house.target, "--slots", "4", "--log-level", "warn", *arguments),
            start_new_session=True,
        )
        self.started.append(process)
        return process

    async def end(self, process: asyncio.subprocess.Process, number: int = signal.SIGTERM) -> int:
        process.send_signal(number)
        return await asyncio.wait_for(process.wait(), 60)


@pytest.fixture
async def programs(house: House) -> AsyncIterator[Programs]:
    programs = Programs(house)
    yield programs
    if any(process.returncode is None for process in programs.started):
        for process in programs.started:
            if process.returncode is None:
                await programs.end(process)
    elif supervisors(house.directory):
        await programs.end(await programs.start())  # Stops what a failed test has left.


def supervisors(directory: Path) -> list[int]:
    """The processes that name the directory in their command line, the worker left out."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            line = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if str(directory).encode() in line and b"supervisor" in line:
            found.append(int(process.name))
    return found


def streams(attempt: Attempt) -> tuple[bytes, bytes]:
    return tuple(  # type: ignore[return-value]
        b"".join(record.data for record in attempt.records if record.stream == stream)
        for stream in (LogRecord.STREAM_STDOUT, LogRecord.STREAM_STDERR)
    )


async def test_both_outputs_of_a_process_arrive_byte_for_byte(house: House, programs: Programs) -> None:
    program = await programs.start()
    attempt = house.server.submit(sys.executable, "-c", LOUD)
    await house.finished(attempt)
    reference = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LOUD), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert streams(attempt) == await reference.communicate()
    assert attempt.complete
    assert await programs.end(program) == 0
    assert supervisors(house.directory) == []
    assert local_worker_is_alive(house.directory) is None


async def test_a_worker_that_is_killed_in_the_middle_of_a_job_loses_nothing(house: House, programs: Programs) -> None:
    house.server.followed = _Everything()
    gate = house.directory / "gate"
    os.mkfifo(gate)
    attempt = house.server.submit(
        script=f"head -c 3000000 /dev/zero; read x < {gate}; head -c 3000000 /dev/zero; exit 3"
    )
    first = await programs.start()
    await house.server.until(lambda: len(attempt.data) == 3_000_000)
    assert await programs.end(first, signal.SIGKILL) == -signal.SIGKILL
    await asyncio.to_thread(gate.write_text, "go\n")
    second = await programs.start()
    await house.finished(attempt)
    assert attempt.outcome is not None
    assert (attempt.outcome.kind, attempt.outcome.exit_code) == (Outcome.KIND_EXITED, 3)
    assert hashlib.sha256(attempt.data).digest() == hashlib.sha256(bytes(6_000_000)).digest()
    assert attempt.complete
    assert await programs.end(second) == 0


async def test_an_upgrade_keeps_the_jobs_and_a_stop_ends_them(house: House, programs: Programs) -> None:
    attempt = house.server.submit(script="echo begun; sleep 1000")
    first = await programs.start()
    await asyncio.wait_for(attempt.logged.wait(), 60)
    assert await programs.end(first, signal.SIGUSR1) == 0
    assert attempt.outcome is None
    second = await programs.start()
    await house.server.until(lambda: len({sync.session_id for sync in house.server.syncs}) == 2)
    assert await programs.end(second) == 0
    assert attempt.outcome is not None
    assert (attempt.outcome.kind, attempt.outcome.detail) == (Outcome.KIND_CANCELLED, "shutdown")
    assert attempt.data == b"begun\n"
    assert supervisors(house.directory) == []


async def test_a_second_worker_says_who_is_there_and_ends(house: House, programs: Programs) -> None:
    first = await programs.start()
    await house.server.until(lambda: bool(house.server.syncs))
    assert local_worker_is_alive(house.directory) == first.pid
    second = await programs.start()
    assert await asyncio.wait_for(second.wait(), 60) == 5
    assert await programs.end(first) == 0


async def test_the_join_token_reaches_no_job(house: House, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    house.server.token = "join-me"
    monkeypatch.setenv("RUNNER_TOKEN", "join-me")
    program = await programs.start()
    attempt = house.server.submit("env")
    await house.finished(attempt)
    assert b"PATH=" in attempt.data
    assert b"join-me" not in attempt.data
    assert await programs.end(program) == 0


class _Everything(set[str]):
    def __contains__(self, item: object) -> bool:
        return True
