"""A data directory on a disk that is full: new jobs are refused aloud, what runs goes on, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from e2e_following import STDOUT, Followed, by_grpc
from e2e_jobs import script, wait_for
from e2e_server import ServerProcess
from e2e_until import until

from runner.v1.job_pb2 import Job
from runner_client import AsyncClient, ResourceExhausted

DISK = 48 << 20


@pytest.fixture
def small_disk(own_server: ServerProcess) -> Iterator[Path]:
    """A file system of its own for the data directory."""
    own_server.data_dir.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a small disk needs root and mount")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "tmpfs", str(own_server.data_dir)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mount is not allowed here")
    yield own_server.data_dir
    own_server.close()
    subprocess.run(["umount", str(own_server.data_dir)], check=True)


def _fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return ballast


async def _runs(client: AsyncClient, job_id: str) -> bool:
    return (await client.get_job(job_id)).state == Job.STATE_RUNNING


@pytest.mark.slow
async def test_new_jobs_are_refused_and_running_ones_go_on(
    own_server: ServerProcess, small_disk: Path, tmp_path: Path
) -> None:
    own_server.start()
    gate = tmp_path / "gate"
    text = f"echo before; {wait_for(gate)}; seq 1 20000; echo after"
    async with own_server.client() as client, httpx.AsyncClient(base_url=own_server.http, timeout=90) as http:
        job = await client.create_job(script(text))
        await until(lambda: _runs(client, job.job_id), what="the start of the job")
        ballast = _fill(small_disk)
        with pytest.raises(ResourceExhausted):
            while True:  # What is left in pages that are there already may take a few more.
                await client.run(["true"])
        reply = await http.post(
            "/api/v1/commands",
            json={"command": "true"},
            headers={"Authorization": "Bearer operator-key"},
        )
        assert reply.status_code == 429, reply.text
        assert int(reply.headers["retry-after"]) > 0
        assert (await http.get("/health")).status_code == 200
        gate.touch()
        # It writes into a full disk: it waits as on any slow reader, and is there when there is room.
        assert (await client.get_job(job.job_id)).state == Job.STATE_RUNNING
        ballast.unlink()
        followed = await by_grpc(client, job.job_id, Followed())
        lines = ["before", *map(str, range(1, 20001)), "after"]
        assert followed.bytes_of(STDOUT).decode().split() == lines
        assert followed.end["complete"] is True
        ended = await client.wait(job.job_id)
        assert (ended.state, ended.outcome.exit_code) == (Job.STATE_SUCCEEDED, 0)
        assert (await client.run(["true"], wait=60)).state == Job.STATE_SUCCEEDED
    await until(lambda: own_server.running, what="a server that goes on")
