"""The house stays as DESIGN.md §2 draws it: which room may import what, from one table, and how long a file may be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {
    "runner_service": ROOT / "runner_service",
    "gateway": ROOT / "gateway",
    "runner_client": ROOT / "clients" / "python" / "runner_client",
}
OURS = {"runner", "runner_service", "gateway", "runner_client"}
GRPC = {"grpc", "grpc_status", "grpc_health", "grpc_reflection", "google"}
EVERYTHING = {"*"}

ROOMS: dict[str, tuple[set[str], set[str]]] = {
    # Room: (what of ours it may import beside itself, what of others beside the standard library).
    "runner_service.domain": (set(), set()),
    "runner_service.ports": ({"runner_service.domain"}, set()),
    "runner_service.services": (
        {"runner_service.domain", "runner_service.ports"},
        {"argon2", "cryptography", "jwt", "zstandard"},
    ),
    "runner_service.store": (
        {"runner_service.domain", "runner_service.ports"},
        {"sqlalchemy", "alembic", "psycopg"},
    ),
    "runner_service.registries": ({"runner_service.domain", "runner_service.ports"}, {"httpx"}),
    "runner_service.blobs": ({"runner_service.domain", "runner_service.ports"}, {"obstore"}),
    "runner_service.rpc": (
        {"runner_service.domain", "runner_service.ports", "runner_service.services", "runner"},
        {*GRPC, "limits"},
    ),
    "runner_service.dialects": (
        {
            "runner_service.domain",
            "runner_service.ports",
            "runner_service.services",
            "runner_service.rpc.convert",
            "runner_service.rpc.access",
            "runner_service.rpc.forms",
            "runner",
        },
        {*GRPC, "marshmallow"},
    ),
    "runner_service.worker.supervisor": ({"runner_service.domain"}, set()),
    "runner_service.worker": ({"runner_service.domain", "runner", "runner_client"}, {*GRPC, "psutil", "yaml"}),
    # The composition root: app, commands, config, http, local_runner, running.
    "runner_service": ({"runner_service", "gateway", "runner", "runner_client"}, EVERYTHING),
    "gateway": (
        {"runner.gateway", "runner_client.streams"},
        {*GRPC, "orjson", "prometheus_client", "python_multipart", "zstandard"},
    ),
    "runner_client.cli": ({"runner_client", "runner"}, {*GRPC, "click", "rich", "yaml"}),
    "runner_client": ({"runner"}, GRPC),
}

MOST_LINES = 400


def modules() -> Iterator[tuple[str, Path]]:
    for package, directory in SOURCES.items():
        for path in sorted(directory.rglob("*.py")):
            parts = path.relative_to(directory).with_suffix("").parts
            yield ".".join((package, *(part for part in parts if part != "__init__"))), path


def room_of(module: str) -> str:
    return max((room for room in ROOMS if module == room or module.startswith(f"{room}.")), key=len)


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which room is meant"
            assert node.module is not None
            # `from runner_service.rpc import access` imports the module runner_service.rpc.access.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


@pytest.mark.parametrize(("module", "path"), [pytest.param(*entry, id=entry[0]) for entry in modules()])
def test_a_room_imports_only_what_the_table_allows(module: str, path: Path) -> None:
    room = room_of(module)
    ours, others = ROOMS[room]
    for name in imports_of(path):
        top = name.partition(".")[0]
        if top in OURS:
            allowed = any(within(name, each) for each in {room, *ours})
            # A package's own name stands for its face: `from gateway import Gateway`.
            assert allowed, f"{module} ({room}) may not import {name}"
        elif top not in sys.stdlib_module_names and others != EVERYTHING:
            assert top in others, f"{module} ({room}) may not import {name}"


@pytest.mark.parametrize(("module", "path"), [pytest.param(*entry, id=entry[0]) for entry in modules()])
def test_no_file_is_over_400_lines(module: str, path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES, f"{path} wants to be a package"


def test_no_test_is_over_400_lines() -> None:
    tests = Path(__file__).parent
    long = [path.name for path in tests.rglob("*.py") if len(path.read_text().splitlines()) > MOST_LINES]
    assert not long, f"{long} want to be split"


def test_no_rest_path_stands_in_python() -> None:
    for module, path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for prefix in ("/api/", "/v1/", "/webhook/"):
                    assert not node.value.startswith(prefix), f"{module}:{node.lineno} holds the path {node.value}"


def test_calls_are_written_to_by_one_module() -> None:
    """Methods that take a stream are called without one; `runner_client.streams` writes to the call, and says why."""
    written = re.compile(r"\.done_writing\(|await (?:self\._)?(?:call|rpc)\.write\(")
    rooms = [module for module, path in modules() if written.search(path.read_text())]
    assert rooms == ["runner_client.streams"]


def test_every_proto_noun_is_a_pair_and_every_service_has_a_servicer() -> None:
    services = sorted((ROOT / "proto" / "runner" / "v1").glob("*_service.proto"))
    servicers = "".join(path.read_text() for path in (ROOT / "runner_service" / "rpc").glob("*.py"))
    assert services
    for path in services:
        assert f"{path.stem}_pb2_grpc" in servicers, f"{path.name} has no servicer"


def test_the_supervisor_and_the_domain_load_nothing_heavy() -> None:
    program = (
        "import sys; import runner_service.worker.supervisor.server, runner_service.domain.jobs;"
        "print(sorted(name for name in ('grpc', 'google', 'asyncio', 'sqlalchemy', 'uvicorn') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
