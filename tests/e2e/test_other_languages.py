"""The clients in other languages, held to one suite: the example program of each is as the command that it runs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e_server import ServerProcess, environment_of

CLIENTS = Path(__file__).parents[2] / "clients"
KEY = "operator-key"
BUILD_SECONDS = 400
DEBIAN_GO = Path("/usr/share/gocode")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass
class Program:
    """An example program of a client: `exec`."""

    command: list[str]

    def start(self, server: str, *argv: str, key: str = KEY) -> subprocess.Popen[bytes]:
        env = environment_of(RUNNER_SERVER=server, RUNNER_TOKEN=key)
        return subprocess.Popen([*self.command, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)

    def run(self, server: str, *argv: str, key: str = KEY) -> tuple[int, bytes, bytes]:
        process = self.start(server, *argv, key=key)
        output, errors = process.communicate(timeout=60)
        return process.returncode, output, errors


def _build(directory: Path, *command: str, env: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, timeout=BUILD_SECONDS)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"


def _typescript(scratch: Path) -> Program:
    home = CLIENTS / "typescript"
    if not shutil.which("node") or not (home / "node_modules" / ".bin" / "tsc").exists():
        pytest.skip("node is not installed, or `npm ci` was not run in clients/typescript")
    _build(CLIENTS, sys.executable, "generate.py", "typescript")
    _build(home, str(home / "node_modules" / ".bin" / "tsc"), "--outDir", str(scratch / "dist"))
    # Where Node looks for what it imports, and reads that these are modules.
    (scratch / "node_modules").symlink_to(home / "node_modules")
    shutil.copy(home / "package.json", scratch)
    return Program(["node", str(scratch / "dist" / "examples" / "exec.js")])


def _go(scratch: Path) -> Program:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for tool in ("go", "protoc-gen-go", "protoc-gen-go-grpc"):
        if not shutil.which(tool, path=path):
            pytest.skip(f"{tool} is not installed")
    if not (DEBIAN_GO / "src" / "google.golang.org" / "grpc").exists():
        pytest.skip("golang-google-grpc-dev (Debian package) is not installed")
    _build(CLIENTS, sys.executable, "generate.py", "go")
    home = scratch / "src" / "runner-service" / "clients" / "go"
    home.parent.mkdir(parents=True)
    home.symlink_to(CLIENTS / "go")
    # Without modules, which would be fetched: what it imports stands among Debian's sources.
    env = {"PATH": path, "HOME": str(scratch), "GO111MODULE": "off", "GOPATH": f"{scratch}:{DEBIAN_GO}"}
    for command in (["vet", "."], ["build", "-o", str(scratch / "exec"), "./examples/exec"]):
        # Its own directory as the path that Go knows it by.
        _build(home, "go", *command, env=env | {"PWD": str(home), "GOCACHE": str(scratch / "cache")})
    return Program([str(scratch / "exec")])


PROGRAMS = {"typescript": _typescript, "go": _go}


@pytest.fixture(scope="module", params=PROGRAMS)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    yield PROGRAMS[request.param](tmp_path_factory.mktemp(request.param))


def test_it_prints_what_the_command_prints_and_exits_as_it_does(program: Program, server: ServerProcess) -> None:
    done = program.run(server.grpc, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert done == (7, b"out\n", b"err\n")
    assert program.run(server.grpc, "sh", "-c", "kill -9 $$") == (137, b"", b"")


def test_it_prints_while_the_command_runs(program: Program, server: ServerProcess, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    process = program.start(server.grpc, "sh", "-c", f"echo begun; read line < {gate}; echo $line")
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    gate.write_text("ended\n")
    assert process.communicate(timeout=60) == (b"ended\n", b"")


def test_bytes_come_as_they_are(program: Program, server: ServerProcess, tmp_path: Path) -> None:
    data = os.urandom(5_000_000)
    (tmp_path / "data").write_bytes(data)
    code, output, errors = program.run(server.grpc, "cat", str(tmp_path / "data"))
    assert (code, len(output), errors) == (0, len(data), b"")
    assert hashlib.sha256(output).digest() == hashlib.sha256(data).digest()


def test_it_goes_on_where_it_was_when_the_server_is_killed(
    program: Program, own_server: ServerProcess, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    own_server.start()
    process = program.start(own_server.grpc, "sh", "-c", f"seq 1 1000; read line < {gate}; seq 1001 2000; exit 3")
    assert process.stdout is not None
    begun = b"".join(process.stdout.readline() for _ in range(1000))
    own_server.kill()
    gate.write_text("go on\n")
    own_server.start()
    output, errors = process.communicate(timeout=60)
    assert errors == b""
    assert begun + output == b"".join(b"%d\n" % number for number in range(1, 2001))
    assert process.returncode == 3


def test_errors_are_words(program: Program, server: ServerProcess) -> None:
    code, _, errors = program.run(server.grpc, "true", key="no-key-of-ours")
    assert (code, errors.split(b":")[0]) == (125, b"CREDENTIALS_INVALID")
    code, _, errors = program.run(server.grpc, "true", key="viewer-key")
    assert (code, errors.split(b":")[0]) == (125, b"ROLE_INSUFFICIENT")


def test_a_server_that_is_not_there_is_waited_for_a_while(program: Program) -> None:
    code, _, errors = program.run("127.0.0.1:1", "true")
    assert (code, errors.split(b":")[0]) == (125, b"UNAVAILABLE")
