"""Prints what the supervisor does on this machine, against what the machine does: not a test, nothing is asserted.

``.venv/bin/python tests/worker/supervisor/supervisor_figures.py``; under ``taskset -c 0`` everything shares one core,
with ``--no-cgroup`` processes are looked for in /proc.
"""
# ruff: noqa: T201

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from runner_service.worker.supervisor.client import Client
from runner_service.worker.supervisor.launch import Options
from runner_service.worker.supervisor.wire import Message, Plan

JOBS = 600
FLOOD_MB = 400
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}


def bare(argv: list[str], count: int) -> float:
    """Spawns per second of `subprocess.Popen`, one after the other, with pipes and read to the end."""
    begun = time.perf_counter()
    for _ in range(count):
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        process.communicate()
    return count / (time.perf_counter() - begun)


class Jobs:
    """Runs jobs through a supervisor."""

    def __init__(self) -> None:
        self.ends: dict[str, asyncio.Future[Message]] = {}
        self.client: Client

    def on_event(self, event: Message) -> None:
        if event["event"] == "ended" and event["attempt_id"] in self.ends:
            self.ends.pop(event["attempt_id"]).set_result(event)

    async def run(self, attempt_id: str, argv: list[str]) -> Message:
        end = self.ends[attempt_id] = asyncio.get_running_loop().create_future()
        environment = _ENVIRONMENT | {"RUNNER_ATTEMPT_ID": attempt_id}
        await self.client.start(attempt_id, 1, Plan([argv], environment))
        event: Message = await end
        await self.client.forget(attempt_id)
        return event


async def spawn_rate(jobs: Jobs, name: str, argv: list[str], concurrency: int, count: int) -> tuple[float, float]:
    """Jobs per second and median milliseconds from start to the known end."""
    numbers = iter(range(count))
    times: list[float] = []

    async def lane() -> None:
        for number in numbers:
            begun = time.perf_counter()
            await jobs.run(f"{name}-{concurrency}-{number}", argv)
            times.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(concurrency)))
    return count / (time.perf_counter() - begun), statistics.median(times) * 1000


def memory(pid: int) -> str:
    """Resident and private memory of a process."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return ", ".join(f"{name} {int(fields[name].split()[0]) / 1024:.1f} MB" for name in ("Rss", "Pss", "Anonymous"))


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        jobs = Jobs()
        jobs.client = await Client.connect(directory, jobs.on_event, Options(cgroup="--no-cgroup" not in sys.argv))
        await jobs.client.hello()
        print("memory at start:", memory(jobs.client.pid), "| guard:", memory(jobs.client.guard_pid))
        for name, argv in (("true", ["/bin/true"]), ("sh", ["/bin/sh", "-c", "echo hello"])):
            floor = bare(argv, JOBS)
            for concurrency in (1, 4, 16):
                rate, median = await spawn_rate(jobs, name, argv, concurrency, JOBS)
                print(f"{name}, {concurrency:2} at once: {rate:6.0f}/s, {rate / floor:4.0%} of Popen's {floor:.0f}/s, "
                      f"median {median:.2f} ms")  # fmt: skip
        flood = ["/bin/sh", "-c", f"head -c {FLOOD_MB}000000 /dev/zero"]
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import subprocess,os\np=subprocess.Popen({flood!r},stdout=-1)\n"
                        "while os.read(p.stdout.fileno(),65536): pass"], check=True)  # fmt: skip
        plain = time.perf_counter() - begun
        begun = time.perf_counter()
        event = await jobs.run("flood", flood)
        taken = time.perf_counter() - begun
        records = event["seal"]["records"]
        print(
            f"{FLOOD_MB} MB: {FLOOD_MB / taken:.0f} MB/s in {records} records; a plain pipe {FLOOD_MB / plain:.0f} MB/s"
        )
        begun = time.perf_counter()
        event = await jobs.run("lines", ["/bin/sh", "-c", "yes | head -c 20000000 | stdbuf -oL cat"])
        print(f"20 MB of unbuffered lines: {event['seal']['records']} records, {time.perf_counter() - begun:.2f} s")
        print("memory after it all:", memory(jobs.client.pid))
        await jobs.client.shutdown()
        await jobs.client.close()


if __name__ == "__main__":
    asyncio.run(main())
