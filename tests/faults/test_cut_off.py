"""A machine whose cable is pulled, played by a network namespace: it stops its jobs before another one gets them."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e_processes import end_processes_of
from e2e_server import RUNNER, ServerProcess, environment_of

from runner.v1.job_pb2 import Job, JobSpec, LossPolicy, RetryPolicy, Step
from runner_client import AsyncClient

HERE, THERE = "198.18.78.1", "198.18.78.2"
LEASE = 3.0
SEEN = 20
"""Beats of the second run, of which each job that lives has one every twentieth of a second."""


@dataclass
class Cable:
    """Between this machine and a namespace."""

    name: str

    def ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, timeout=60)

    def pull(self) -> None:
        self.ip("link", "set", self.name, "down")

    def plug(self) -> None:
        self.ip("link", "set", self.name, "up")


@pytest.fixture
def cable() -> Iterator[Cable]:
    if os.geteuid() != 0:
        pytest.skip("making a network namespace needs root")
    for tool in ("ip", "nsenter"):
        if shutil.which(tool) is None:
            pytest.skip(f"the program `{tool}` (iproute2, util-linux) is not installed")
    made = Cable(f"rsf{os.getpid()}")
    try:
        made.ip("netns", "add", made.name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine makes no network namespaces: {error.stderr.decode().strip()}")
    try:
        made.ip("link", "add", made.name, "type", "veth", "peer", "name", "eth0", "netns", made.name)
        made.ip("addr", "add", f"{HERE}/30", "dev", made.name)
        made.ip("-n", made.name, "addr", "add", f"{THERE}/30", "dev", "eth0")
        made.ip("-n", made.name, "link", "set", "eth0", "up")
        made.ip("-n", made.name, "link", "set", "lo", "up")
        made.plug()
        yield made
    finally:
        subprocess.run(["ip", "link", "del", made.name], check=False, capture_output=True, timeout=60)
        subprocess.run(["ip", "netns", "del", made.name], check=False, capture_output=True, timeout=60)


@pytest.fixture
def server(faulty_settings: ServerProcess) -> ServerProcess:
    return faulty_settings


@pytest.fixture
def faulty_settings(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path)
    process.settings["security"]["api_keys"] += [{"key": "worker-key", "role": "worker"}]
    process.settings["dispatch"] = {"lease_seconds": LEASE, "park_idle_seconds": 1, "park_busy_seconds": 1}
    yield process
    print(process.errors)  # noqa: T201
    process.close()


def _beating(file: Path) -> str:
    """Writes its own pid, again and again until it is let go, and passes over TERM."""
    return f"trap '' TERM; while [ ! -e {file}.over ]; do echo $$ >> {file}; sleep 0.05; done"


def _job(file: Path, kind: LossPolicy.Kind.ValueType) -> JobSpec:
    spec = JobSpec(
        steps=[Step(script=_beating(file))],
        retry=RetryPolicy(max_attempts=2),
        loss=LossPolicy(kind=kind, idempotent=kind == LossPolicy.KIND_RETRY),
    )
    spec.kill_grace.FromSeconds(60)
    return spec


async def _until_state(client: AsyncClient, job: Job, state: Job.State.ValueType) -> Job:
    async with asyncio.timeout(60):
        while (found := await client.get_job(job.job_id)).state != state:
            await asyncio.sleep(0.05)
    return found


def _clock(runs: str) -> dict[str, str]:
    """What a process is to have in its environment for its wall clock to run so: ahead, behind, faster."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        pytest.skip("libfaketime (Debian package faketime) is not installed")
    return {"LD_PRELOAD": str(found[0]), "FAKETIME": runs, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}


@pytest.mark.slow
@pytest.mark.parametrize("clocks_agree", [True, False])
async def test_a_machine_that_is_cut_off_stops_its_jobs_before_another_gets_them(
    server: ServerProcess, cable: Cable, tmp_path: Path, clocks_agree: bool
) -> None:
    """Leases are counted by each side for itself: it is all one when one machine's clock is two days ahead and runs
    three times as fast, and another's is a year behind."""
    far_clock, near_clock = ({}, {}) if clocks_agree else (_clock("+2d x3"), _clock("-1y"))
    server.start("--no-local-runner", http=[f"{HERE}:0"], grpc=f"{HERE}:0")
    join = [str(RUNNER), "join", "--server", server.grpc, "--slots", "4"]
    environment = environment_of(RUNNER_TOKEN="worker-key")
    far, near = tmp_path / "far", tmp_path / "near"
    workers = [
        subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{cable.name}", *join, "--data-dir", str(far), "--name", "far"],
            env=environment | far_clock,
        )
    ]
    beats, kept, failed = tmp_path / "beats", tmp_path / "kept", tmp_path / "failed"
    try:
        async with AsyncClient(server.grpc, token="operator-key") as client:
            again = await client.create_job(_job(beats, LossPolicy.KIND_RETRY))
            waiting = await client.create_job(_job(kept, LossPolicy.KIND_WAIT))
            never = await client.create_job(_job(failed, LossPolicy.KIND_FAIL))
            for job in (again, waiting, never):
                await _until_state(client, job, Job.STATE_RUNNING)
            workers.append(
                subprocess.Popen([*join, "--data-dir", str(near), "--name", "near"], env=environment | near_clock)
            )
            cable.pull()
            lost = await client.wait(never.job_id)
            assert (lost.state, lost.outcome.detail) == (Job.STATE_LOST, "lease_expired")
            async with asyncio.timeout(120):
                # Long enough for whoever should be dead to be seen between them.
                while len(set(written := beats.read_text().split())) < 2 or written.count(written[-1]) < SEEN:
                    await asyncio.sleep(0.05)
            # WAIT lets it go on without the server, and its machine is taken back.
            assert (await client.get_job(waiting.job_id)).state == Job.STATE_RUNNING
            cable.plug()
            for file in (beats, kept):
                Path(f"{file}.over").touch()
            kept_on, ran_again = await client.wait(waiting.job_id), await client.wait(again.job_id)
            assert (kept_on.state, kept_on.attempts) == (Job.STATE_SUCCEEDED, 1)
            assert (ran_again.state, ran_again.attempts) == (Job.STATE_SUCCEEDED, 2)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(60)
        left = end_processes_of(str(tmp_path / "far")) | end_processes_of(str(tmp_path / "near"))
    assert not left
    order = beats.read_text().split()
    first = order[0]
    assert order == sorted(order, key=lambda pid: pid != first), "both ran at one time"
    assert len(set(kept.read_text().split())) == 1
