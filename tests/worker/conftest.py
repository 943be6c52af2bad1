"""What the tests of the worker share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from worker_house import House


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    await house.server.start(house.target)
    yield house
    for worker, task in house.workers:
        worker.stop()
        worker.stop()
        await asyncio.wait((task,))
        if not task.cancelled():
            task.exception()
    await house.server.stop()
