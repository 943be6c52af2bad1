"""Memory of attempts, by what the environment of their processes says."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

from runner_service.domain.ids import new_id
from runner_service.worker.attempts import Attempts, Held, Phase
from runner_service.worker.memory import measure, watch_memory

AGENT = b"RUNNER_AGENT_NAME=x\0"
PAGE = os.sysconf("SC_PAGE_SIZE")


def process(proc: Path, pid: int, environment: bytes, pages: int) -> None:
    directory = proc / str(pid)
    directory.mkdir(parents=True)
    (directory / "environ").write_bytes(environment)
    (directory / "statm").write_bytes(b"999 %d 3 4 0 5 0\n" % pages)


def test_processes_count_for_the_attempt_that_their_environment_names(tmp_path: Path) -> None:
    process(tmp_path, 1, b"PATH=/bin\0RUNNER_ATTEMPT_ID=a\0HOME=/\0" + AGENT, 10)
    process(tmp_path, 2, AGENT + b"RUNNER_ATTEMPT_ID=a", 5)
    process(tmp_path, 3, AGENT + b"RUNNER_ATTEMPT_ID=b\0", 7)
    process(tmp_path, 4, AGENT + b"OTHER_RUNNER_ATTEMPT_ID=a\0", 100)
    process(tmp_path, 5, b"", 100)
    process(tmp_path, 7, b"RUNNER_ATTEMPT_ID=a\0", 100)  # of a job that is no agent
    (tmp_path / "6").mkdir()  # as it looks when it ends while it is looked at
    (tmp_path / "self").mkdir()
    assert measure(["a", "c"], tmp_path) == {"a": 15 * PAGE, "c": 0}
    assert measure([], tmp_path) == {}


async def test_what_was_adopted_is_an_agent_s_if_its_processes_say_so() -> None:
    asked: list[list[str]] = []

    def found(attempt_ids: Collection[str]) -> dict[str, int]:
        asked.append(sorted(attempt_ids))
        return {attempt_id: 5 * PAGE if "agent" in attempt_id else 0 for attempt_id in attempt_ids}

    attempts, shipment = Attempts(), cast(Any, None)
    for name, measured in (("agent", True), ("job", False), ("adopted-agent", None), ("adopted-job", None)):
        phase = Phase.STARTED
        attempts.add(Held(attempt_id=name, fence=1, phase=phase, shipment=shipment, measured=measured))
    watching = asyncio.create_task(watch_memory(attempts, seconds=0, measure=found))
    while len(asked) < 2:
        await asyncio.sleep(0)
    watching.cancel()
    assert asked[:2] == [["adopted-agent", "adopted-job", "agent"], ["adopted-agent", "agent"]]
    listed = {one.attempt_id: (one.measured, one.memory_bytes) for one in attempts.listing()}
    assert listed == {
        "agent": (True, 5 * PAGE),
        "job": (False, 0),
        "adopted-agent": (True, 5 * PAGE),
        "adopted-job": (False, 0),
    }


def test_a_real_process_is_measured() -> None:
    attempt_id = new_id()
    program = "import sys; data = bytearray(50_000_000); print(flush=True); sys.stdin.read()"
    environment = {**os.environ, "RUNNER_ATTEMPT_ID": attempt_id, "RUNNER_AGENT_NAME": "x"}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert measure([attempt_id])[attempt_id] > 50_000_000
        child.communicate()
