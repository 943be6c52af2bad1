"""A worker's executor over an engine of the tests' own, and what can be seen of its processes."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from docker_engine import IMAGE, Dockerd
from executor_contract import PATIENCE, Worker, text

from runner_service.domain.containers import Container
from runner_service.domain.jobs import Step
from runner_service.domain.logs import LogStream
from runner_service.domain.outcomes import Outcome
from runner_service.worker.executors.base import OutputGrew
from runner_service.worker.executors.docker import DockerExecutor
from runner_service.worker.supervisor.launch import Options


class Docker(Worker):
    """A worker's executor over an engine."""

    def __init__(self, directory: Path, engine: Dockerd, **options: Any) -> None:
        self.directory = directory
        self.engine = engine
        self.made = DockerExecutor(str(directory), Options(idle_exit_seconds=0.2, **options), engine=engine.socket)
        super().__init__(self.made, {})

    async def begin(self, attempt_id: str, *steps: str | list[str], **spec: Any) -> None:
        container = {name: spec.pop(name) for name in ("image", "user", "volumes", "pull_policy") if name in spec}
        about = Container(**{"image": IMAGE, "network": "none", **container})
        made = [Step(script=step) if isinstance(step, str) else Step(argv=tuple(step)) for step in steps]
        await self.start(attempt_id, *made, container=about, **spec)

    async def run(self, attempt_id: str, *steps: str | list[str], **spec: Any) -> Outcome:
        await self.begin(attempt_id, *steps, **spec)
        return (await self.end(attempt_id)).outcome

    async def said(self, attempt_id: str, stream: LogStream = LogStream.STDOUT) -> bytes:
        return text(await self.log(attempt_id), stream)

    async def output(self, attempt_id: str) -> None:
        await self.until(attempt_id, OutputGrew)

    async def none_is_left(self) -> None:
        """Its engine has no container any more, or will have none at once."""
        async with asyncio.timeout(PATIENCE):
            while self.engine.containers():
                await asyncio.sleep(0.01)

    def pilots(self) -> list[int]:
        """Those of this supervisor: another test may have others at the same time."""
        return [pid for pid in running(b"container/__main__.py") if parent(pid) == self.supervisor()["pid"]]

    def supervisor(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.directory / "supervisor.json").read_text())
        return found


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def running(words: bytes) -> list[int]:
    """Processes with these words among their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if words in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                pass
    return found


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
