"""`runner serve` as a process: started, killed, started again on the same directory and ports, stopped."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from e2e_processes import end_processes_of
from free_ports import free_port

from runner_client import AsyncClient

RUNNER = Path(sys.executable).parent / "runner"
START_SECONDS = 90.0
"""Of a machine that is busy with other things; it takes one."""
STOP_SECONDS = 90.0
SETTINGS: Mapping[str, Any] = {
    "server": {"shutdown_grace_seconds": 1},
    "security": {"api_keys": ["operator-key", {"key": "viewer-key", "role": "viewer"}]},
    "executor": {"max_concurrent_jobs": 8, "kill_grace_seconds": 1},
}
_READY = re.compile(r"^runner is ready: (.*) grpc://(\S+)$", re.MULTILINE)


def environment_of(**more: str) -> dict[str, str]:
    """What a program of ours is started with: nothing of the test's own that could change what it does, but for a
    service with a fault that is planted (`faults_mutants`)."""
    names = ("PATH", "HOME", "LANG", "PYTHONPATH", "PYTHONSAFEPATH")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return kept | {"PYTHONWARNINGS": "error::ResourceWarning"} | more


class CannotStart(Exception):
    """The server ended instead of serving."""

    def __init__(self, code: int, errors: str) -> None:
        super().__init__(f"exit {code}: {errors}")
        self.code = code
        self.errors = errors


class ServerProcess:
    """One data directory and the server on it."""

    def __init__(self, directory: Path) -> None:
        self.data_dir = directory / "data"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        # Chosen once: while it is away, nobody who dials may be given its port.
        self._http, self._grpc = (f"127.0.0.1:{free_port()}",), f"127.0.0.1:{free_port()}"
        self.settings: dict[str, Any] = {name: dict(section) for name, section in SETTINGS.items()}
        self.starts = 0

    @property
    def http(self) -> str:
        return f"http://{self._http[0]}"

    @property
    def grpc(self) -> str:
        return self._grpc

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def worker_pid(self) -> int:
        """0 when it has none yet."""
        try:
            return int((self.data_dir / "worker" / "lock").read_text() or 0)
        except FileNotFoundError:
            return 0

    @property
    def errors(self) -> str:
        """What the server, its worker and its supervisor wrote to standard error, over all starts."""
        path = self._directory / "errors"
        return path.read_text(errors="replace") if path.exists() else ""

    def client(self, **options: Any) -> AsyncClient:
        """It waits a minute for an answer, where people get theirs in five seconds: a test is not about that."""
        return AsyncClient(self.grpc, **{"connect_patience": 60.0, **options})

    def start(
        self,
        *options: str,
        http: Sequence[str] | None = None,
        grpc: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Returns when it is ready. Started again, it listens where it did before. ``grpc`` empty: where the settings
        say. Raises `CannotStart`."""
        assert not self.running
        config, output = self._directory / "config.yaml", self._directory / f"output-{self.starts}"
        config.write_text(yaml.safe_dump(self.settings))
        self.starts += 1
        here = self._directory / "here"  # Nothing of the directory that it is started in is taken for a part of it.
        here.mkdir(exist_ok=True)
        (here / "runner_service.py").write_text("raise ImportError('of the working directory')\n")
        command = [str(RUNNER), "serve", "--config", str(config), "--data-dir", str(self.data_dir)]
        for address in http or self._http:
            command += ["--http", address]
        if grpc != "":
            command += ["--grpc", grpc or self._grpc]
        command += options
        with output.open("wb") as out, (self._directory / "errors").open("ab") as err:
            begin = err.tell()
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=here, env=environment_of(**(env or {}))
            )
        deadline = time.monotonic() + START_SECONDS
        while (ready := _READY.search(output.read_text())) is None:
            if self._process.poll() is not None:
                raise CannotStart(self._process.returncode, self.errors.encode()[begin:].decode())
            if time.monotonic() > deadline:
                self.kill()
                end_processes_of(str(self.data_dir))
                raise AssertionError(f"the server is not ready after {START_SECONDS:g} s: {self.errors}")
            time.sleep(0.02)
        self._http = tuple(word.removeprefix("http://") for word in ready[1].split())
        self._grpc = ready[2]

    def kill(self) -> None:
        """kill -9 of the server alone: its worker and jobs go on."""
        self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(STOP_SECONDS)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        """The exit code."""
        assert self._process is not None
        return self._process.wait(STOP_SECONDS)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def close(self) -> None:
        """Stops what runs; fails when that is not clean or leaves a process behind."""
        code = 0
        try:
            if self.running:
                code = self.stop()
        finally:
            if self.running:
                self.kill()
            left = end_processes_of(str(self.data_dir))
        assert not left, f"processes survive the server: {left}\n{self.errors}"
        assert code == 0, f"the server ended with {code}: {self.errors}"
