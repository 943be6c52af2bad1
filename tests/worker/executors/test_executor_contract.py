from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker_engine import IMAGE, Dockerd
from executor_contract import ExecutorContract, Rig

from runner_service.domain.containers import Container
from runner_service.domain.jobs import Step
from runner_service.worker.executors.base import Executor
from runner_service.worker.executors.docker import DockerExecutor
from runner_service.worker.executors.fake import FakeExecutor, FakeMachine
from runner_service.worker.executors.native import NativeExecutor
from runner_service.worker.supervisor.launch import Options


class NativeRig(Rig):
    def __init__(self, directory: Path, *, cgroup: bool) -> None:
        self._directory = directory
        self._cgroup = cgroup

    def executor(self) -> Executor:
        return NativeExecutor(str(self._directory), Options(idle_exit_seconds=0.2, cgroup=self._cgroup))

    def says(self, stdout: str, stderr: str, code: int) -> Step:
        return Step(script=f"printf '%s' '{stdout}'; printf '%s' '{stderr}' >&2; exit {code}")

    def holds(self, stdout: str) -> Step:
        return Step(script=f"printf '%s' '{stdout}'; exec sleep 1000")

    def copies(self) -> Step:
        return Step(argv=("cat",))

    def writes(self, size: int) -> Step:
        return Step(argv=("head", "-c", str(size), "/dev/urandom"))

    def pass_deadline(self) -> float:
        return time.monotonic() + 0.05


class DockerRig(NativeRig):
    def __init__(self, directory: Path, engine: Dockerd) -> None:
        super().__init__(directory, cgroup=True)
        self._engine = engine

    def executor(self) -> Executor:
        return DockerExecutor(str(self._directory), Options(idle_exit_seconds=0.2), engine=self._engine.socket)

    def more(self) -> dict[str, object]:
        return {"container": Container(image=IMAGE, network="none")}


class FakeRig(Rig):
    def __init__(self) -> None:
        self._machine = FakeMachine()

    def executor(self) -> Executor:
        return FakeExecutor(machine=self._machine)

    def says(self, stdout: str, stderr: str, code: int) -> Step:
        return Step(argv=("fake", f"stdout={stdout}", f"stderr={stderr}", f"exit={code}"))

    def holds(self, stdout: str) -> Step:
        return Step(script=f"fake stdout={stdout} hold")

    def copies(self) -> Step:
        return Step(argv=("fake", "cat"))

    def writes(self, size: int) -> Step:
        return Step(argv=("fake", f"stdout*={size}"))

    def pass_deadline(self) -> float:
        return 100.0

    def deadline_set(self) -> None:
        self._machine.advance(101.0)


class TestContract(ExecutorContract):
    @pytest.fixture(params=["native", "native without cgroup", "fake", pytest.param("docker", marks=pytest.mark.slow)])
    def rig(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
        if request.param == "docker":
            engine: Dockerd = request.getfixturevalue("engine")
            yield DockerRig(tmp_path, engine)
            assert engine.containers() == []
        elif request.param == "fake":
            yield FakeRig()
        else:
            yield NativeRig(tmp_path, cgroup=request.param == "native")
