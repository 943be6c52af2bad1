"""What the tests of executors share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from docker_engine import Dockerd, dockerd


@pytest.fixture(scope="session")
def engine() -> Iterator[Dockerd]:
    with dockerd() as daemon:
        yield daemon
