"""More than there is room for: thousands of workers at once, and disks that are full."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_jobs import script
from faults_house import House, until
from faults_zygote import Zygote
from free_ports import free_port

from runner.v1.job_pb2 import Job
from runner_client.errors import ResourceExhausted

CROWD = int(os.environ.get("FAULT_CROWD", "500"))
MIB = 1 << 20
MOST_KIB_EACH = 150
"""Resident memory of the server for a parked worker. It is about fifty; three times that would be a leak."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """24 MiB, and root alone can make one."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs root and the program `mount`")
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"this machine mounts no tmpfs: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextlib.asynccontextmanager
async def opened(house: House) -> AsyncIterator[House]:
    await house.start()
    try:
        yield house
    finally:
        sys.stderr.write(house.errors[-20_000:])
        await house.close()


def _fill(place: Path) -> Path:
    """Takes every byte that is left."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (MIB, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    return filler


@pytest.mark.slow
async def test_a_full_disk_of_the_server_refuses_new_jobs_and_loses_none(
    tmp_path: Path, zygote: Zygote, small_disk: Path
) -> None:
    (tmp_path / "house").mkdir()
    (tmp_path / "house" / "data").symlink_to(small_disk)
    gate = tmp_path / "gate"
    async with opened(House(tmp_path / "house", zygote, machines=1)) as house, house.client() as client:
        running = await client.create_job(script(f"while [ ! -e {gate} ]; do sleep 0.02; done; seq 20000; exit 3"))
        async with asyncio.timeout(60):
            while (await client.get_job(running.job_id)).state != Job.STATE_RUNNING:
                await asyncio.sleep(0.02)
        filler = _fill(small_disk)
        with pytest.raises(ResourceExhausted) as refused:
            for _ in range(1_000):  # what SQLite has of its own may hold some more
                await client.create_job(script("true", labels={"nobody": "has"}))
        assert refused.value.reason == "STORAGE_FULL"
        gate.touch()
        assert (await client.get_job(running.job_id)).state == Job.STATE_RUNNING  # reading goes on
        filler.unlink()
        async with asyncio.timeout(60):
            ended = await client.wait(running.job_id)
        assert ended.outcome.exit_code == 3
        text = b"".join([record.data async for message in client.follow(running.job_id) for record in message.records])
        assert text == "".join(f"{number}\n" for number in range(1, 20001)).encode()
        again = await client.create_job(script("true"))
        assert (await client.wait(again.job_id)).state == Job.STATE_SUCCEEDED


@pytest.mark.slow
async def test_a_full_disk_of_a_worker_makes_its_jobs_wait_and_loses_nothing(
    tmp_path: Path, zygote: Zygote, small_disk: Path
) -> None:
    (tmp_path / "house").mkdir()
    (tmp_path / "house" / "machine0").symlink_to(small_disk)
    gate = tmp_path / "gate"
    async with opened(House(tmp_path / "house", zygote, machines=1)) as house, house.client() as client:
        await client.wait((await client.create_job(script("true"))).job_id)
        before = await client.create_job(
            script(f"echo up; while [ ! -e {gate} ]; do sleep 0.02; done; seq 300000; exit 4")
        )
        async for message in client.follow(before.job_id):
            if message.records:
                break
        filler = _fill(small_disk)
        gate.touch()
        beside = await client.create_job(script("echo beside"))
        async with asyncio.timeout(60):
            while (await client.get_job(beside.job_id)).state != Job.STATE_RUNNING:
                await asyncio.sleep(0.02)
        assert (await client.get_job(before.job_id)).state == Job.STATE_RUNNING
        filler.unlink()
        async with asyncio.timeout(60):
            ended = await client.wait(before.job_id)
        assert ended.outcome.exit_code == 4
        size = sum([len(record.data) async for message in client.follow(before.job_id) for record in message.records])
        assert size == len("up\n") + sum(len(f"{number}\n") for number in range(1, 300001))
        assert (await client.wait(beside.job_id)).state == Job.STATE_SUCCEEDED


@pytest.mark.slow
async def test_a_worker_whose_disk_is_full_still_stops(tmp_path: Path, zygote: Zygote, small_disk: Path) -> None:
    (tmp_path / "house").mkdir()
    (tmp_path / "house" / "machine0").symlink_to(small_disk)
    gate, written = tmp_path / "gate", tmp_path / "written"
    async with opened(House(tmp_path / "house", zygote, machines=1)) as house, house.client() as client:
        job = await client.create_job(
            script(
                f"echo up; while [ ! -e {gate} ]; do sleep 0.02; done; "
                f"head -c 30000 /dev/zero; touch {written}; seq 300000; sleep 1000"
            )
        )
        async for message in client.follow(job.job_id):
            if message.records:
                break
        filler = _fill(small_disk)
        gate.touch()
        # More than the block or two that come free as the server takes what was there before.
        await until(written.exists, what="output that there is no room for")
        (machine,) = house.machines
        assert machine.worker is not None
        worker, supervisor, machine.worker = machine.worker, machine.supervisor_pid, None
        worker.signal(signal.SIGTERM)
        await worker.ended(60)
        assert Path(f"/proc/{supervisor}").exists()  # it has what there was no room for
        filler.unlink()
        await until(lambda: not Path(f"/proc/{supervisor}").exists(), what="the end of the supervisor")
        house.start_worker(machine)
        ended = await client.wait(job.job_id)
        assert (ended.state, ended.outcome.detail) == (Job.STATE_CANCELLED, "shutdown")


class Crowd:
    """The process that plays the workers."""

    def __init__(self, target: str, count: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("faults_crowd.py")), target, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def look(self) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    async def parked(self, count: int, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while (found := await asyncio.to_thread(self.look))["parked"] < count:
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.2)
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def _heard_since(database: Path, micros: int) -> int:
    """Runners that the server has heard of since. Whether its call is parked or waits for a line, no client knows."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT count(*) FROM runners WHERE last_seen_at > ?", (micros,)).fetchone()
    return int(found[0])


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_thousands_of_parked_workers_come_back_after_a_crash(tmp_path: Path, zygote: Zygote) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2 * CROWD + 100:
        pytest.skip(f"{CROWD} connections need a limit of open files (ulimit -Hn) of {2 * CROWD + 100}")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    house = House(tmp_path, zygote, machines=1)
    house.port = free_port()  # The crowd comes back to it.
    async with opened(house), house.client() as client:
        assert house.server is not None
        empty = _rss_kib(house.server.pid)
        crowd = Crowd(f"127.0.0.1:{house.port}", CROWD)
        try:
            begun = time.monotonic()
            await crowd.parked(CROWD, 240)
            full, came = _rss_kib(house.server.pid), time.monotonic() - begun
            assert (full - empty) / CROWD < MOST_KIB_EACH
            job = await client.create_job(script("echo here; exit 0", labels={"machine": "machine0"}))
            assert (await client.wait(job.job_id)).state == Job.STATE_SUCCEEDED
            house.server.signal(signal.SIGKILL)
            await house.server.ended(60)
            begun, died = time.monotonic(), time.time_ns() // 1000
            database = tmp_path / "data" / "runner.db"
            await until(lambda: _heard_since(database, died) > CROWD, what="all of them", seconds=240)
            back = time.monotonic() - begun
            cost = _cpu_seconds(house.server.pid)
            found = await asyncio.to_thread(crowd.look)
            assert found["errors"] == {}
            # What the crash cut, and not one call that the server dropped because they are many.
            assert [words for words in found["borne"] if not words.startswith("UNAVAILABLE")] == []
            job = await client.create_job(script("echo here; exit 0", labels={"machine": "machine0"}))
            assert (await client.wait(job.job_id)).state == Job.STATE_SUCCEEDED
            sys.__stderr__.write(
                f"\n{CROWD} workers: {(full - empty) / CROWD:.1f} KiB each, parked after {came:.1f} s,"
                f" all back {back:.1f} s after a crash, for {cost:.1f} s of the server's processor time with its start,"
                f" {found['cuts']} calls repeated\n"
            )
        finally:
            crowd.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
