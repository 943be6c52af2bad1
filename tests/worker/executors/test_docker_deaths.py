"""Who may die while a container runs: nothing is orphaned, nothing runs twice, and it is said what happened."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from docker_engine import IMAGE, Dockerd, dockerd
from docker_house import Docker, resident, running
from executor_contract import PATIENCE, Worker

from runner_service.domain import inputs
from runner_service.domain.containers import Container
from runner_service.domain.jobs import JobSpec, Stdin, Step
from runner_service.domain.outcomes import OutcomeKind
from runner_service.worker.executors.docker import DockerExecutor, engine_socket
from runner_service.worker.executors.native import NativeExecutor
from runner_service.worker.memory import measure
from runner_service.worker.supervisor.container.leftovers import read_note
from runner_service.worker.supervisor.launch import Options

pytestmark = pytest.mark.slow


async def test_a_pilot_that_is_killed_takes_its_container_along(docker: Docker) -> None:
    await docker.begin("a", "echo ready; sleep 23456789")
    await docker.output("a")
    (pilot,) = docker.pilots()
    os.kill(pilot, signal.SIGKILL)
    outcome = (await docker.end("a")).outcome
    assert (outcome.kind, outcome.detail, outcome.survivors) == (OutcomeKind.INFRASTRUCTURE, "run", 0)
    assert not running(b"23456789")
    await docker.none_is_left()


async def test_a_worker_that_is_replaced_leaves_the_container_to_the_next(docker: Docker) -> None:
    await docker.begin("a", "echo before; read line; echo after $line; exit 6", stdin=Stdin.PIPE)
    await docker.output("a")
    await docker.made.close()
    heir = Docker(docker.directory, docker.engine)
    (known,) = await heir.made.adopt()
    await heir.made.feed("a", known.input_received or 0, inputs.data(b"x\n"))
    assert (await heir.end("a")).outcome.exit_code == 6
    assert await heir.said("a") == b"before\nafter x\n"
    await heir.made.close(stop=True)


@pytest.mark.parametrize("guard_too", [False, True])
async def test_nothing_is_left_when_the_supervisor_is_killed(docker: Docker, guard_too: bool) -> None:
    await docker.begin("orphan", "echo ready; sleep 34567890")
    await docker.output("orphan")
    pid = docker.supervisor()["pid"]
    guard = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    if guard_too:
        os.kill(guard, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    outcome = (await docker.end("orphan")).outcome
    assert (outcome.kind, outcome.detail) == (OutcomeKind.LOST, "supervisor_died")
    assert await docker.said("orphan") == b"ready\n"
    assert not running(b"34567890")
    await docker.none_is_left()
    assert (await docker.run("b", "true")).succeeded


async def test_a_container_that_was_left_is_removed_when_a_worker_starts(tmp_path: Path, engine: Dockerd) -> None:
    first = Docker(tmp_path, engine)
    await first.made.adopt()
    assert (await first.run("a", "true")).succeeded
    note = read_note(str(tmp_path / "engine"))
    assert note is not None
    body = {"Image": IMAGE, "Labels": {"runner-service.owner": note.owner, "runner-service.attempt": "b"}}
    engine.engine.call("POST", "/containers/create?name=left", body)
    engine.engine.call("POST", "/containers/create?name=foreign", {**body, "Labels": {}})
    try:
        second = Docker(tmp_path, engine)
        await second.made.adopt()
        async with asyncio.timeout(PATIENCE):
            while "left" in engine.containers():
                await asyncio.sleep(0)
        assert engine.containers() == ["foreign"]
        await second.made.close(stop=True)
        await first.made.close()
    finally:
        engine.engine.call("DELETE", "/containers/foreign?force=1")


async def test_a_runner_without_an_engine_says_what_to_do(tmp_path: Path) -> None:
    away = DockerExecutor(str(tmp_path), Options(idle_exit_seconds=0.2), engine=str(tmp_path / "no.sock"))
    native = NativeExecutor(str(tmp_path / "native"), Options(idle_exit_seconds=0.2))
    for executor, kind, words in (
        (away, OutcomeKind.INFRASTRUCTURE, "start it on the runner"),
        (native, OutcomeKind.REFUSED, "runs no containers"),
    ):
        assert await executor.labels() == {}
        await executor.adopt()
        worker = Worker(executor, {})
        await worker.start("a", Step(script="true"), container=Container(image=IMAGE))
        outcome = (await worker.end("a")).outcome
        assert outcome.kind is kind
        assert words in outcome.message
        await executor.close(stop=True)


async def test_what_an_agent_holds_in_memory_is_seen_in_its_container_too(docker: Docker) -> None:
    environment = {"RUNNER_ATTEMPT_ID": "a", "RUNNER_AGENT_NAME": "one"}
    job = JobSpec(steps=(Step(script="echo ready; sleep 1000"),), container=Container(image=IMAGE, network="none"))
    await docker.made.start("a", 1, job, environment)
    await docker.output("a")
    assert measure(["a"])["a"] > 100_000


async def test_a_runner_with_an_engine_says_so(docker: Docker) -> None:
    assert await docker.made.labels() == {"docker": "yes"}
    assert engine_socket("unix:///a/b") == "/a/b"
    assert engine_socket("") == "/var/run/docker.sock"
    assert engine_socket("tcp://10.0.0.1:2375") == ""


async def test_the_supervisor_stays_small_and_the_pilot_too(docker: Docker) -> None:
    for number in range(3):
        await docker.begin(f"a{number}", "echo ready; sleep 1000")
        await docker.output(f"a{number}")
    assert resident(docker.supervisor()["pid"]) < 15 << 20
    assert max(map(resident, docker.pilots())) < 15 << 20
    await docker.made.close(stop=True)


@pytest.fixture
def own_engine() -> Iterator[Dockerd]:
    with dockerd() as daemon:
        yield daemon


@pytest.fixture
async def own_docker(tmp_path: Path, own_engine: Dockerd) -> AsyncIterator[Docker]:
    docker = Docker(tmp_path, own_engine)
    await docker.made.adopt()
    yield docker
    await docker.made.close(stop=True)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_an_engine_that_goes_away_ends_its_containers_and_comes_back(
    own_docker: Docker, how: signal.Signals
) -> None:
    docker, engine = own_docker, own_docker.engine
    await docker.begin("a", "echo ready; sleep 45678901")
    await docker.output("a")
    engine.stop(how)
    outcome = (await docker.end("a")).outcome
    assert (outcome.kind, outcome.detail, outcome.survivors) == (OutcomeKind.INFRASTRUCTURE, "run", 0)
    assert "docker daemon" in outcome.message
    assert not running(b"45678901")
    assert await docker.made.labels() == {}
    engine.start()
    assert await docker.made.labels() == {"docker": "yes"}
    assert (await docker.run("b", "echo again")).succeeded


async def test_no_container_outlives_its_attempt_where_it_outlives_its_engine(tmp_path: Path) -> None:
    """With `live-restore` containers run on when the engine is killed. They are ended without it, before it is said
    that the attempt has ended: it may be tried again, elsewhere, at once."""
    with dockerd(live_restore=True) as engine:
        docker = Docker(tmp_path, engine)
        await docker.made.adopt()
        body = {"Image": IMAGE, "Cmd": ["sleep", "56789011"], "HostConfig": {"NetworkMode": "none"}}
        engine.engine.call("POST", "/containers/create?name=foreign", body)
        engine.engine.call("POST", "/containers/foreign/start")
        await docker.begin("a", "echo ready; sleep 56789012")
        await docker.output("a")
        engine.kill_alone()
        outcome = (await docker.end("a")).outcome
        assert not running(b"56789012")
        assert running(b"56789011")
        assert (outcome.kind, outcome.detail, outcome.survivors) == (OutcomeKind.INFRASTRUCTURE, "run", 0)
        assert "docker daemon" in outcome.message
        assert await docker.said("a") == b"ready\n"
        engine.start()
        assert (await docker.run("b", "echo again")).succeeded
        await docker.made.close()
        heir = Docker(tmp_path, engine)
        await heir.made.adopt()
        async with asyncio.timeout(PATIENCE):
            while engine.containers() != ["foreign"]:
                await asyncio.sleep(0.01)
        engine.engine.call("DELETE", "/containers/foreign?force=1")
        await heir.made.close(stop=True)
