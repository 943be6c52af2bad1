"""The executors there are, by the name that settings use: one line each, loaded when one is made."""

from __future__ import annotations

from importlib import import_module

from runner_service.worker.executors.base import Executor

EXECUTORS = {
    "native": "runner_service.worker.executors.native:NativeExecutor",
    "docker": "runner_service.worker.executors.docker:DockerExecutor",
    "fake": "runner_service.worker.executors.fake:FakeExecutor",
}


def create(name: str, directory: str) -> Executor:
    """Makes the executor ``name``, which keeps what it has to keep below ``directory``.

    Raises:
        KeyError: There is none of that name.
    """
    module, _, attribute = EXECUTORS[name].partition(":")
    executor: Executor = getattr(import_module(module), attribute)(directory)
    return executor
