"""What the native executor adds to the contract: its supervisor may die at any time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

from runner_service.domain.jobs import JobSpec, Step
from runner_service.domain.outcomes import OutcomeKind
from runner_service.worker.executors.base import Ended
from runner_service.worker.executors.native import NativeExecutor
from runner_service.worker.supervisor.launch import Options

ENVIRONMENT = {"PATH": os.environ["PATH"]}


async def test_what_is_started_while_another_supervisor_comes_keeps_its_log(tmp_path: Path) -> None:
    executor = NativeExecutor(str(tmp_path), Options(idle_exit_seconds=0.2))
    ends: dict[str, asyncio.Future[Ended]] = {}

    async def follow() -> None:
        async for event in executor.events():
            if isinstance(event, Ended):
                ends[event.attempt_id].set_result(event)

    async def start(name: str, script: str) -> None:
        ends[name] = asyncio.get_running_loop().create_future()
        await executor.start(name, 1, JobSpec(steps=(Step(script=script),)), ENVIRONMENT)

    await executor.adopt()
    await executor.set_deadline(1e9)  # so that there is something to tell the next one first
    following = asyncio.create_task(follow())
    try:
        await start("before", "sleep 1000")
        os.kill(json.loads((tmp_path / "supervisor.json").read_text())["pid"], signal.SIGKILL)
        while executor._client is not None:
            await asyncio.sleep(0)
        await asyncio.gather(*(start(f"after{number}", "echo here") for number in range(5)))
        async with asyncio.timeout(60):
            assert (await ends["before"]).outcome.kind is OutcomeKind.LOST
            for number in range(5):
                assert (await ends[f"after{number}"]).outcome.succeeded
                records, _ = await executor.read_log(f"after{number}", 0, 1 << 16)
                assert b"".join(record.data for record in records) == b"here\n"
    finally:
        await executor.close(stop=True)
        await following
