"""kill -9 of a real `runner join` that has a container running, and of whoever is beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker_engine import IMAGE, Dockerd, dockerd
from e2e_following import STDOUT, Followed, by_grpc
from e2e_processes import end_processes_of, processes_of
from e2e_server import RUNNER, ServerProcess, environment_of
from e2e_until import until

from runner.v1.job_pb2 import Container, Job, JobSpec, Step
from runner.v1.outcome_pb2 import Outcome


@pytest.fixture(scope="module")
def engine() -> Iterator[Dockerd]:
    with dockerd() as daemon:
        yield daemon


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path)
    process.start("--no-local-runner")
    yield process
    process.close()


def _join(server: ServerProcess, engine: Dockerd, home: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(RUNNER), "join", "--server", server.grpc, "--data-dir", str(home), "--name", "there"],
        env=environment_of(DOCKER_HOST=f"unix://{engine.socket}"),
    )


def _supervisor(home: Path) -> int:
    return int(json.loads((home / "worker" / "supervisor.json").read_text())["pid"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("killed", "told"),
    [
        ({"worker"}, (Job.STATE_FAILED, Outcome.KIND_EXITED, 6, b"before\nafter\n")),
        ({"worker", "server"}, (Job.STATE_FAILED, Outcome.KIND_EXITED, 6, b"before\nafter\n")),
        ({"worker", "supervisor"}, (Job.STATE_LOST, Outcome.KIND_LOST, 0, b"before\n")),
    ],
    ids=["it_alone", "with_the_server", "with_its_supervisor"],
)
async def test_the_next_worker_adopts_a_container_or_says_that_it_is_lost(
    server: ServerProcess, engine: Dockerd, tmp_path: Path, killed: set[str], told: tuple[int, int, int, bytes]
) -> None:
    home, go_on, ran = tmp_path / "there", tmp_path / "share" / "go-on", tmp_path / "share" / "ran"
    go_on.parent.mkdir()
    script = f"echo run >> {ran}; echo before; while [ ! -e {go_on} ]; do sleep 0.05; done; echo after; exit 6"
    container = Container(image=IMAGE, network="none", volumes=[f"{go_on.parent}:{go_on.parent}"])
    workers = [_join(server, engine, home)]
    try:
        async with server.client(patience=60.0) as client:
            job = await client.create_job(JobSpec(steps=[Step(script=script)], container=container))

            async for message in client.follow(job.job_id):
                if any(b"before" in record.data for record in message.records):
                    break
            (before,) = engine.containers()
            supervisor = _supervisor(home)
            if "server" in killed:
                server.kill()
            workers[0].kill()
            workers[0].wait(60)
            if "supervisor" in killed:
                os.kill(supervisor, signal.SIGKILL)
            if "server" in killed:
                server.start("--no-local-runner")
            workers.append(_join(server, engine, home))
            if "supervisor" not in killed:
                assert engine.containers() == [before]
                go_on.touch()
            ended = await client.wait(job.job_id)
            followed = await by_grpc(client, job.job_id, Followed())
        state, kind, code, output = told
        assert (ended.state, ended.outcome.kind, ended.outcome.exit_code) == (state, kind, code)
        assert (ended.attempts, ended.outcome.survivors) == (1, 0)
        assert ended.outcome.detail == ("supervisor_died" if kind == Outcome.KIND_LOST else "")
        assert followed.bytes_of(STDOUT) == output
        assert ran.read_text() == "run\n"
        await until(lambda: not engine.containers(), what="the end of the container")
        assert not processes_of(str(go_on))
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(60)
        left = end_processes_of(str(home))
    assert not left
