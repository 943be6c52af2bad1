"""Runs jobs that ask for one in a container of a Docker engine, and all others as `native` does.

The supervisor is the same, and so is everything about an attempt that is not its process: the journal, input, budgets,
adoption, what happens when somebody dies. In place of the step it starts a pilot, which runs the steps in a container:
see `supervisor.contained` and `supervisor.container`.

A container carries the directory of its supervisor and its attempt as labels. Those that nobody accompanies any more
are removed by whoever is left: the pilot when its supervisor is gone, the guard when both were killed, the next
supervisor when the guard was too, and this when the engine was away meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner_service.domain.containers import CONTAINER_LABEL
from runner_service.domain.jobs import JobSpec
from runner_service.worker.executors.base import KnownAttempt
from runner_service.worker.executors.native import NativeExecutor, plan
from runner_service.worker.supervisor.cells import Limits
from runner_service.worker.supervisor.container import holder
from runner_service.worker.supervisor.container.engine import DEFAULT_SOCKET, Engine, EngineAway, EngineRefused
from runner_service.worker.supervisor.container.leftovers import read_note, remove_leftovers
from runner_service.worker.supervisor.container.order import Order
from runner_service.worker.supervisor.launch import Options
from runner_service.worker.supervisor.wire import Plan

ANSWER_SECONDS = 2.0
"""An engine that does not say its version within it is away."""
TIDY_SECONDS = 60.0
"""Between two looks for containers that were left."""
_log = logging.getLogger(__name__)


def engine_socket(host: str) -> str:
    """The path of the socket that a DOCKER_HOST names, the usual one when it names none; empty when it is no socket of
    this machine: a container mounts directories of the machine that its engine runs on."""
    if not host:
        return DEFAULT_SOCKET
    return host.removeprefix("unix://") if host.startswith("unix://") else ""


def _answers(path: str) -> bool:
    try:
        Engine(path).call("GET", "/version", timeout=ANSWER_SECONDS)
    except (EngineAway, EngineRefused):
        return False
    return True


class DockerExecutor(NativeExecutor):
    """An `Executor` over the supervisor of ``directory`` and the engine behind a socket."""

    def __init__(
        self,
        directory: str,
        options: Options = Options(),  # noqa: B008  It is immutable.
        *,
        engine: str | None = None,
        auth: str = "",
    ) -> None:
        """
        Args:
            engine: Path of the engine's socket. Default: as DOCKER_HOST says.
            auth: File with the credentials of registries. Default: as DOCKER_CONFIG says, else docker's own.
        """
        super().__init__(directory, options)
        self._most = Limits(options.job_cpus, options.job_memory_bytes, options.job_processes)
        self._engine = engine_socket(os.environ.get("DOCKER_HOST", "")) if engine is None else engine
        self._auth = auth or str(Path(os.environ.get("DOCKER_CONFIG") or "~/.docker").expanduser() / "config.json")
        self._tidy: asyncio.Task[None] | None = None

    async def labels(self) -> Mapping[str, str]:
        answers = bool(self._engine) and holder.supported() and await asyncio.to_thread(_answers, self._engine)
        return {CONTAINER_LABEL: "yes"} if answers else {}

    async def adopt(self) -> Sequence[KnownAttempt]:
        known = await super().adopt()
        if self._tidy is None and read_note(self._layout.engine_note) is not None:
            self._begin_tidying()
        return known

    async def close(self, *, stop: bool = False) -> None:
        if self._tidy is not None:
            self._tidy.cancel()
            await asyncio.wait((self._tidy,))
            self._tidy = None
        await super().close(stop=stop)

    def _plan(self, spec: JobSpec, environment: Mapping[str, str], secrets: Mapping[str, str], *, staged: str) -> Plan:
        made = plan(spec, environment, secrets, staged=staged)
        if spec.container is None or not self._engine or not holder.supported():
            return made
        if self._tidy is None:
            self._begin_tidying()
        asked = Limits(spec.limits.cpus, spec.limits.memory_bytes, spec.limits.processes).within(self._most)
        order = Order(
            image=spec.container.image,
            engine=self._engine,
            pull=spec.container.pull_policy.value,
            user=spec.container.user,
            network=spec.container.network,
            privileged=spec.container.privileged,
            volumes=list(spec.container.volumes),
            working_directory=spec.working_directory,
            auth=self._auth,
            cpus=asked.cpus,
            memory_bytes=asked.memory_bytes,
            processes=asked.processes,
        )
        # The limits are the engine's to keep, and the working directory one of the container.
        return made._replace(
            steps=[list(step.argv) or (["/bin/sh", "-c", step.script] if step.script else [""]) for step in spec.steps],
            container=order._asdict(),
            working_directory="",
            cpus=0.0,
            memory_bytes=0,
            processes=0,
        )

    def _begin_tidying(self) -> None:
        self._tidy = asyncio.create_task(self._keep_tidy(), name="leftover-containers")

    async def _keep_tidy(self) -> None:
        while not self._replaced:  # Else what a newer worker starts would look like a leftover from here.
            note = read_note(self._layout.engine_note)
            try:
                removed = 0
                if note is not None:
                    removed = await asyncio.to_thread(remove_leftovers, note, lambda: self._known - self._over)
                if removed:
                    _log.warning(
                        "Removed %d containers that were left behind.", removed, extra={"action": "containers_removed"}
                    )
            except EngineAway:
                pass
            await asyncio.sleep(TIDY_SECONDS)
