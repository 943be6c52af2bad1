"""What agents hold in memory, from ``/proc``.

A process belongs to the attempt that its environment names, however it was started; see ``executors.environment``.
Other jobs are told by their outcome what they held at most.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from runner_service.worker.attempts import Attempts

MEASURE_SECONDS = 1.5
"""Between two measurements. Each reads a few hundred small files, and none while no agent runs."""
AGENT_NAME = "RUNNER_AGENT_NAME"
"""The variable by which an agent is known."""
_MARK = b"RUNNER_ATTEMPT_ID="
_OF_AGENTS = f"{AGENT_NAME}=".encode()
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def measure(attempt_ids: Collection[str], proc: Path = Path("/proc")) -> Mapping[str, int]:
    """Resident bytes of each agent's processes together. Processes that cannot be looked into are passed over."""
    wanted = {attempt_id.encode(): attempt_id for attempt_id in attempt_ids}
    sizes = dict.fromkeys(attempt_ids, 0)
    for entry in os.scandir(proc) if wanted else ():
        if not entry.name.isdigit():
            continue
        try:
            environment = Path(entry.path, "environ").read_bytes()
            at = environment.find(_MARK)
            if at < 0 or (at > 0 and environment[at - 1]) or _OF_AGENTS not in environment:
                continue
            value = environment[at + len(_MARK) :].split(b"\0", 1)[0]
            if value in wanted:
                sizes[wanted[value]] += int(Path(entry.path, "statm").read_bytes().split()[1]) * _PAGE_BYTES
        except (OSError, IndexError, ValueError):
            continue  # it has ended, or is somebody else's
    return sizes


async def watch_memory(
    attempts: Attempts,
    *,
    seconds: float = MEASURE_SECONDS,
    measure: Callable[[Collection[str]], Mapping[str, int]] = measure,
) -> None:
    """Measures what runs, until cancelled; the next Sync tells the server."""
    while True:
        await asyncio.sleep(seconds)
        live = {held.attempt_id: held for held in attempts if held.live and held.measured is not False}
        if live:
            for attempt_id, size in (await asyncio.to_thread(measure, list(live))).items():
                held = live[attempt_id]
                held.memory_bytes = size
                if held.measured is None:
                    held.measured = size > 0
