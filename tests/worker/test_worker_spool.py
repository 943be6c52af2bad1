"""A log far larger than the spool: the job goes on as the server takes it, and not a byte is lost on the way."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from dispatched import Attempt
from worker_house import House

from runner.v1.outcome_pb2 import Outcome
from runner_service.worker.executors.native import NativeExecutor
from runner_service.worker.identity import worker_directory
from runner_service.worker.supervisor.client import Client
from runner_service.worker.supervisor.launch import LaunchFailed, Options

MIB = 1 << 20
LOG_BYTES = 64 * MIB
SPOOL_BYTES = 8 * MIB
SLACK = 4 * MIB
"""A step that is acknowledged and not yet given back, and what a pipe holds."""
OPTIONS = Options(idle_exit_seconds=0.5, spool_limit_bytes=SPOOL_BYTES)
WRITE = f"import random, sys; sys.stdout.buffer.write(random.Random(7).randbytes({LOG_BYTES}))"


class Spool:
    """What the journals of a worker take on the disk, looked at all the time."""

    def __init__(self, house: House) -> None:
        self.directory = worker_directory(house.directory)
        self.most = 0

    def look(self) -> int:
        now = 0
        for file in (self.directory / "spool").glob("*.journal"):
            with suppress(FileNotFoundError):  # It has just been let go.
                now += file.stat().st_blocks * 512
        self.most = max(self.most, now)
        return now

    async def watch(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(0.005)


@pytest.fixture
async def spool(house: House) -> AsyncIterator[Spool]:
    spool = Spool(house)
    watch = asyncio.create_task(spool.watch())
    yield spool
    watch.cancel()
    try:
        supervisor, _ = await Client.meet(str(spool.directory), lambda _: None, OPTIONS)
        await supervisor.shutdown()
        await asyncio.wait((supervisor.lost,), timeout=60)
    except (LaunchFailed, ConnectionError):
        pass


def executor(spool: Spool) -> NativeExecutor:
    return NativeExecutor(str(spool.directory), OPTIONS)


def expected() -> bytes:
    return random.Random(7).randbytes(LOG_BYTES)


def arrived(attempt: Attempt) -> int:
    return sum(len(record.data) for record in attempt.records)


async def test_a_log_of_eight_spools_passes_through_one(house: House, spool: Spool) -> None:
    house.server.append_gate = asyncio.Event()
    attempt = house.server.submit(sys.executable, "-c", WRITE)
    house.worker(executor=executor(spool))
    async with asyncio.timeout(60):
        while spool.look() < SPOOL_BYTES:
            await asyncio.sleep(0.01)
    other = house.server.submit("true")
    await house.finished(other)  # A job that writes nothing needs no room.
    assert attempt.outcome is None
    assert spool.look() < SPOOL_BYTES + SLACK
    house.server.append_gate.set()
    await house.finished(attempt)
    assert attempt.data == expected()
    assert attempt.complete
    assert spool.most < SPOOL_BYTES + SLACK


async def test_a_worker_that_comes_in_the_middle_goes_on_at_the_right_byte(house: House, spool: Spool) -> None:
    attempt = house.server.submit(sys.executable, "-c", WRITE)
    for part in (1, 2, 3):
        worker = house.worker(executor=executor(spool))
        await house.server.until(lambda part=part: arrived(attempt) > part * LOG_BYTES // 4)  # type: ignore[misc]
        await house.crash(worker)
    house.worker(executor=executor(spool))
    await house.finished(attempt)
    assert attempt.data == expected()
    assert attempt.complete
    assert spool.most < SPOOL_BYTES + SLACK


async def test_the_log_of_a_job_that_dies_with_its_supervisor_is_whole_up_to_there(house: House, spool: Spool) -> None:
    attempt = house.server.submit(sys.executable, "-c", f"{WRITE}; sys.stdout.flush(); import time; time.sleep(1000)")
    house.worker(executor=executor(spool))
    await house.server.until(lambda: arrived(attempt) > LOG_BYTES // 2)
    os.kill(supervisor_of(spool.directory), signal.SIGKILL)
    await house.finished(attempt)
    assert attempt.outcome is not None
    assert (attempt.outcome.kind, attempt.outcome.detail) == (Outcome.KIND_LOST, "supervisor_died")
    assert attempt.seal is not None
    assert (attempt.seal.records, attempt.seal.stdout_bytes) == (len(attempt.records), arrived(attempt))
    assert expected().startswith(attempt.data)


async def test_a_log_that_the_server_takes_no_more_of_does_not_stop_its_job(house: House, spool: Spool) -> None:
    attempt = house.server.submit(sys.executable, "-c", WRITE)
    house.server.cut_after = [0]
    house.server.cut_with = (3, "INVALID_ARGUMENT")
    house.worker(executor=executor(spool))
    await house.finished(attempt)
    assert attempt.outcome is not None
    assert (attempt.outcome.kind, attempt.outcome.exit_code) == (Outcome.KIND_EXITED, 0)
    assert attempt.seal is None
    assert spool.most < SPOOL_BYTES + SLACK


def supervisor_of(directory: Path) -> int:
    """The serving process, which is the child of its guard."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            line = (process / "cmdline").read_bytes()
            parent = int((process / "stat").read_text().rpartition(") ")[2].split()[1])
        except (OSError, ValueError):
            continue
        if f"\0{directory}\0".encode() in line and b"supervisor" in line:
            found.append((int(process.name), parent))
    guards = {pid for pid, _ in found}
    return next(pid for pid, parent in found if parent in guards)
