"""A log of any size goes from pipe to spool to server to follower and archive, and grows no process on its way."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import psutil
import pytest
from e2e_following import Digests
from e2e_server import ServerProcess
from e2e_until import until

from runner.v1.job_pb2 import Job, JobSpec, Step

LOG_MB = int(os.environ.get("FAULT_LOG_MB", "200"))
"""`make faults` has 1,000."""
WARM_MB = 30
"""Before it is measured: threads and buffers that live on are no growth."""
GROWTH_MB = {"server": 60, "worker": 30, "supervisor": 20}
"""With 1,000 it was 14, 1 and 1. One that kept as much as a tenth of it would be over."""
BLOCK = bytes(range(256)) * 256
# Each block begins with its number, and half of them go to the other stream.
_WRITE = """
import os
body = bytes(range(256)) * 256
for number in range(%d):
    data = number.to_bytes(8, "big") + body[8:]
    while data:
        data = data[os.write(1 + number %% 2, data):]
"""


def _peaks(processes: dict[str, psutil.Process]) -> dict[str, float]:
    """The most resident memory of each since it was last forgotten, in MB."""
    found = {}
    for name, process in processes.items():
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        found[name] = next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM"))
    return found


def _forget_peaks(processes: dict[str, psutil.Process]) -> None:
    for process in processes.values():
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def _processes(server: ServerProcess) -> dict[str, psutil.Process]:
    """Those on the way: the guard is forked first, and is the parent of the supervisor."""
    worker = psutil.Process(server.worker_pid)
    supervisors = [child for child in worker.children(recursive=True) if "supervisor" in " ".join(child.cmdline())]
    return {"server": psutil.Process(server.pid), "worker": worker, "supervisor": supervisors[-1]}


def _written(blocks: int) -> tuple[str, str]:
    """Digests of what goes to each stream."""
    digests = sha256(), sha256()
    for number in range(blocks):
        digests[number % 2].update(number.to_bytes(8, "big") + BLOCK[8:])
    return digests[0].hexdigest(), digests[1].hexdigest()


def _archived(server: ServerProcess, job_id: str) -> bool:
    """The log is one object in the blob store: the last that the server does with it."""
    query = "SELECT 1 FROM log_archives JOIN attempts USING (attempt_id) WHERE job_id = ?"
    with closing(sqlite3.connect(server.data_dir / "runner.db", timeout=30)) as connection:
        return connection.execute(query, (job_id,)).fetchone() is not None


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_big_log_grows_no_process_on_its_way(faulty: ServerProcess) -> None:
    async with faulty.client(patience=600.0) as client:
        await until(lambda: faulty.worker_pid, what="the worker")

        async def follow(megabytes: int) -> None:
            blocks = megabytes * 1_000_000 // len(BLOCK)
            argv = ["python3", "-I", "-S", "-c", _WRITE % blocks]
            job = await client.create_job(JobSpec(steps=[Step(argv={"args": argv})]))
            followed = await Digests().follow(client, job.job_id)
            assert (await client.wait(job.job_id)).state == Job.STATE_SUCCEEDED
            assert followed.size == blocks * len(BLOCK)
            assert followed.hex() == _written(blocks)
            assert followed.end is not None
            assert followed.end.complete
            await until(lambda: _archived(faulty, job.job_id), what="the archive")

        await follow(WARM_MB)
        processes = _processes(faulty)
        _forget_peaks(processes)
        before = _peaks(processes)
        await follow(LOG_MB)
        after = _peaks(processes)
    grown = {name: round(after[name] - before[name], 1) for name in after}
    print(f"{LOG_MB} MB of log: peaks of {after} MB, grown by {grown}")  # noqa: T201
    assert all(grown[name] < GROWTH_MB[name] for name in grown), (before, after)
