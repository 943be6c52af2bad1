from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from supervisor_rig import Hold

from runner_service.worker.supervisor.client import SupervisorGone


@pytest.fixture
def cgroup() -> bool:
    """Whether the supervisor may use a cgroup; a module that wants both parametrizes it."""
    return True


@pytest.fixture
async def make_hold(cgroup: bool) -> AsyncIterator[Callable[[Path], Hold]]:
    """Makes workers that are not yet connected; their supervisors are gone after the test."""
    made: list[Hold] = []

    def make(directory: Path) -> Hold:
        made.append(Hold(directory, cgroup=cgroup))
        return made[-1]

    yield make
    for hold in made:
        if not hold.connected:
            continue
        try:
            await hold.client.shutdown()
        except SupervisorGone:
            await hold.client.close()
        else:
            await hold.gone()


@pytest.fixture
async def hold(tmp_path: Path, make_hold: Callable[[Path], Hold]) -> Hold:
    """A worker connected to a supervisor of its own."""
    hold = make_hold(tmp_path / "worker")
    await hold.connect()
    return hold
