"""The gateway is tested with its own services: their stubs are built here, once per run, and never kept."""

from __future__ import annotations

import atexit
import functools
import importlib
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import grpc_tools
import httpx
import pytest
from google.rpc import code_pb2
from grpc_tools import protoc

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
_NAMES = ("library", "facade", "everything", "habits", "choices")


def _build(target: Path) -> None:
    command = [
        "protoc",
        f"-I{HERE / 'protos'}",
        f"-I{ROOT / 'proto'}",
        f"-I{Path(code_pb2.__file__).parent.parent.parent}",
        f"-I{Path(grpc_tools.__file__).parent / '_proto'}",
        f"--python_out={target}",
        f"--grpc_python_out={target}",
        f"--descriptor_set_out={target / 'tests.binpb'}",
        "--include_imports",
        "--include_source_info",
        *(f"{name}.proto" for name in _NAMES),
    ]
    if protoc.main(command) != 0:
        raise RuntimeError("protoc refused the test protos")


# Cleaned at exit, not by the garbage collector, whose warning would fail the run.
_STUBS = tempfile.TemporaryDirectory(prefix="gateway-test-stubs-")
atexit.register(_STUBS.cleanup)
_build(Path(_STUBS.name))
sys.path[:0] = [_STUBS.name, str(HERE)]


def load(name: str) -> ModuleType:
    """A generated module of the test protos."""
    return importlib.import_module(name)


@pytest.fixture(scope="session")
def protos() -> SimpleNamespace:
    """The test messages: ``protos.library.Book``, ``protos.everything.Everything`` …"""
    return SimpleNamespace(**{name: load(f"{name}_pb2") for name in _NAMES})


@pytest.fixture(scope="session")
def descriptors() -> bytes:
    """The descriptor set of the test protos, with comments."""
    return (Path(_STUBS.name) / "tests.binpb").read_bytes()


@pytest.fixture
def library() -> Any:
    """The library servicer of a test, to look at what reached it."""
    from gateway_servicers import Library

    return Library()


@pytest.fixture(
    params=[
        "in process",
        # The same tests over a channel, where they have to see the same: many, and slower.
        pytest.param("tcp", marks=pytest.mark.slow),
        pytest.param("unix socket", marks=pytest.mark.slow),
    ]
)
def backend(request: pytest.FixtureRequest) -> str:
    """Where the servicers of a test are."""
    return str(request.param)


@pytest.fixture
def over(library: Any, backend: str) -> Any:
    """Makes gateways over the library of the test, wherever it is, with settings of a test's own."""
    from gateway_servicers import register
    from harness import made

    return functools.partial(made, backend, functools.partial(register, library))


@pytest.fixture
async def gateway(library: Any, descriptors: bytes, backend: str) -> AsyncIterator[Any]:
    """A gateway over all test servicers, with defaults."""
    from gateway_servicers import register
    from harness import made

    async with made(backend, functools.partial(register, library), descriptors=descriptors) as gateway:
        yield gateway


@pytest.fixture
async def client(gateway: Any) -> AsyncIterator[httpx.AsyncClient]:
    """An in-memory client of that gateway."""
    from harness import in_memory

    async with in_memory(gateway) as made:
        yield made
