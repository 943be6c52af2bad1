"""A directory with a server in it, to which workers with the fake executor can be brought."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from dispatch_server import DispatchServer, unix_target
from dispatched import Attempt

from runner.v1.dispatch_service_pb2 import HeldAttempt
from runner_service.worker.executors.base import Executor
from runner_service.worker.executors.fake import FakeExecutor, FakeMachine
from runner_service.worker.times import ExitCode, WorkerTimes
from runner_service.worker.worker import Worker

QUICK = {"retry_first": 0.01, "retry_most_local": 0.02, "first_flush": 0.0}


class House:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.target = unix_target(directory)
        self.server = DispatchServer()
        self.machine = FakeMachine()
        self.workers: list[tuple[Worker, asyncio.Task[ExitCode]]] = []

    def worker(
        self, *, executor: Executor | None = None, times: dict[str, float] | None = None, **fields: Any
    ) -> Worker:
        """Starts a worker."""
        worker = Worker(
            target=fields.pop("target", self.target),
            data_directory=fields.pop("data_directory", self.directory),
            executor=executor or FakeExecutor(machine=self.machine),
            times=WorkerTimes(**{**QUICK, **(times or {})}),
            slots=fields.pop("slots", 4),
            **fields,
        )
        self.workers.append((worker, asyncio.create_task(worker.run())))
        return worker

    async def ended(self, worker: Worker) -> ExitCode:
        """The worker's exit code, once it has ended."""
        async with asyncio.timeout(60):
            return await next(task for one, task in self.workers if one is worker)

    async def crash(self, worker: Worker) -> None:
        """Ends the worker as kill -9 would, as far as others can see."""
        task = next(task for one, task in self.workers if one is worker)
        task.cancel()
        await asyncio.wait((task,))

    async def finished(self, *attempts: Attempt) -> None:
        async with asyncio.timeout(60):
            for attempt in attempts:
                await attempt.finished.wait()

    async def listed(self, attempt: Attempt, phase: HeldAttempt.Phase.ValueType) -> None:
        """Waits until the newest Sync lists the attempt in this phase."""
        await self.server.until(
            lambda: any(
                held.attempt_id == attempt.attempt_id and held.phase == phase
                for sync in self.server.syncs[-1:]
                for held in sync.attempts
            )
        )

    async def gone(self) -> None:
        """Waits until the newest Sync lists nothing."""
        await self.server.until(lambda: bool(self.server.syncs) and not self.server.syncs[-1].attempts)
