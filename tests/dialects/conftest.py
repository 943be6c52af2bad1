"""Servers for the tests of the façades. A test that changes a server starts one of its own."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from kubeagents_house import KubeAgents, open_kubeagents
from rustci_server import UNLIMITED, RustCi
from sct_server import Sct, SctServer
from sentinel_client import CONFIG as SENTINEL_CONFIG
from sentinel_client import Sentinel
from testflinger_server import LabServer

ENVIRONMENT = {
    "SCT_AGENT_API_KEY": "key-of-the-environment",
    "RUNNER_SCT_MAX_OUTPUT_BYTES": str(1024 * 1024),
    "DATABASE_PASSWORD": "secret-of-the-service",
}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SctServer]:
    """With the README's configuration and ten slots. Leave no job running."""
    server = SctServer(tmp_path_factory.mktemp("sct"), environment=ENVIRONMENT)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def sct(server: SctServer) -> Sct:
    return server.client()


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., SctServer]]:
    """Starts a server that the test may do with as it likes."""
    made: list[SctServer] = []

    def make(config: Any = None, **options: Any) -> SctServer:
        made.append(SctServer(tmp_path, config, **options))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        # Shown with a test that fails.
        sys.stderr.write(one.errors)
        one.close()


@pytest.fixture(scope="session")
def sentinel_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SctServer]:
    """With users and room for many agents. Leave none running."""
    server = SctServer(tmp_path_factory.mktemp("sentinel"), SENTINEL_CONFIG)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def sentinel(sentinel_server: SctServer) -> Iterator[Sentinel]:
    client = Sentinel(sentinel_server.url)
    yield client
    client.http.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """A lab without a runner of its own. Use queues that nobody else does."""
    with LabServer(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture(scope="session")
def plain(lab: LabServer) -> Iterator[httpx.Client]:
    """Somebody without credentials, as in the documented lines."""
    with lab.http() as client:
        yield client


@pytest.fixture(scope="session")
def rustci_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SctServer]:
    """Without rate limits. Leave no job running."""
    server = SctServer(tmp_path_factory.mktemp("rustci"), UNLIMITED)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def rustci(rustci_server: SctServer) -> Iterator[RustCi]:
    client = RustCi(rustci_server)
    yield client
    client.http.close()


@pytest.fixture
async def kube(tmp_path: Path) -> AsyncIterator[KubeAgents]:
    async with open_kubeagents(tmp_path) as kube:
        yield kube
