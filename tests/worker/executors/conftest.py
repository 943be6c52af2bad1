"""What the tests of executors share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from docker_engine import Dockerd, dockerd
from docker_house import Docker


@pytest.fixture(scope="session")
def engine() -> Iterator[Dockerd]:
    with dockerd() as daemon:
        yield daemon


@pytest.fixture
async def docker(tmp_path: Path, engine: Dockerd) -> AsyncIterator[Docker]:
    docker = Docker(tmp_path, engine)
    await docker.made.adopt()
    yield docker
    await docker.made.close(stop=True)
    assert engine.containers() == []
