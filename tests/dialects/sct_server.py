"""`runner serve` in a process of its own, and what the tests of the SCT façade say to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml
from free_ports import free_port

from runner_service.worker.identity import local_worker_is_alive

RUNNER = Path(sys.executable).with_name("runner")
ROOT = Path(__file__).resolve().parents[2]
CONTRACT: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("sct_contract.yaml").read_text())
COMMANDS = "/api/v1/commands"
KEY = "sct-runner-key-1"
JSON = "application/json; charset=utf-8"
PATIENCE = 60.0
"""Seconds that something which is sure to happen may take on a busy machine."""

Job = dict[str, Any]
T = TypeVar("T")


def until(look: Callable[[], T | None], what: str, seconds: float = PATIENCE) -> T:
    """What ``look`` returns once it is neither None nor False."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.01)


def clean_environment(**more: str) -> dict[str, str]:
    """Ours without the settings of a server, plus ``more``."""
    names = ("PORT", "CORS_ALLOWED_ORIGINS", "SCT_AGENT_API_KEY")
    kept = {name: value for name, value in os.environ.items() if name not in names and not name.startswith("RUNNER_")}
    return {**kept, **more}


class Sct:
    """A client of the façade: plain HTTP, one key."""

    def __init__(self, url: str, key: str | None = KEY, **options: Any) -> None:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self.http = httpx.Client(base_url=url, headers=headers, timeout=PATIENCE, trust_env=False, **options)

    def submit(self, command: str, *args: str, **members: Any) -> str:
        reply = self.post({"command": command, "args": list(args), **members})
        assert reply.status_code == 200, reply.text
        assert reply.json()["status"] == "queued"
        job_id: str = reply.json()["job_id"]
        return job_id

    def sh(self, script: str, **members: Any) -> str:
        return self.submit("/bin/sh", "-c", script, **members)

    def post(self, body: object, **options: Any) -> httpx.Response:
        return self.http.post(COMMANDS, json=body, **options)

    def job(self, job_id: str) -> Job:
        reply = self.http.get(f"{COMMANDS}/{job_id}")
        assert reply.status_code == 200, reply.text
        job: Job = reply.json()
        return job

    def list(self, **query: object) -> dict[str, Any]:
        reply = self.http.get(COMMANDS, params={name: str(value) for name, value in query.items()})
        assert reply.status_code == 200, reply.text
        page: dict[str, Any] = reply.json()
        return page

    def cancel(self, job_id: str) -> httpx.Response:
        return self.http.delete(f"{COMMANDS}/{job_id}")

    def when(self, job_id: str, ready: Callable[[Job], object], what: str) -> Job:
        """The job once ``ready`` holds of it."""

        def look() -> Job | None:
            job = self.job(job_id)
            return job if ready(job) else None

        return until(look, what)

    def ended(self, job_id: str) -> Job:
        return self.when(job_id, lambda job: job["status"] not in ("queued", "running"), "the end of the job")

    def wrote(self, job_id: str, text: str) -> Job:
        return self.when(job_id, lambda job: text in job.get("stdout", ""), f"{text!r} on stdout")

    def run(self, script: str, **members: Any) -> Job:
        return self.ended(self.sh(script, **members))


class SctServer:
    """A server with a directory of its own. Starts again on the same data after `kill` or `stop`."""

    def __init__(
        self,
        directory: Path,
        config: str | Mapping[str, Any] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        launcher: Sequence[str] = (),
    ) -> None:
        self.data = directory / "data"
        self.config = directory / "agent.yaml"
        if config is None:
            config = CONTRACT["config_of_the_readme"]
        self.config.write_text(config if isinstance(config, str) else yaml.safe_dump(dict(config)))
        graces = {"RUNNER_EXECUTOR_KILL_GRACE_SECONDS": "1", "RUNNER_SERVER_SHUTDOWN_GRACE_SECONDS": "0.2"}
        self._environment = clean_environment(**(graces | dict(environment or {})))
        self._arguments = arguments
        self._launcher = launcher
        self._errors = directory / "stderr"
        self._process: subprocess.Popen[str] | None = None
        self._clients: list[Sct] = []
        self.port = 0
        self.grpc = ""
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def errors(self) -> str:
        """The server's own log."""
        return self._errors.read_text()

    def client(self, key: str | None = KEY, **options: Any) -> Sct:
        """A client that is closed with the server."""
        self._clients.append(Sct(self.url, key, **options))
        return self._clients[-1]

    def start(self) -> None:
        self.port, self.grpc = free_port(), f"127.0.0.1:{free_port()}"
        command = [*self._launcher, str(RUNNER), "serve", "--config", str(self.config), "--data-dir", str(self.data)]
        command += ["--http", f"127.0.0.1:{self.port}", "--grpc", self.grpc, *self._arguments]
        with self._errors.open("a") as errors:
            self._process = subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        # A server that cannot start closes its end.
        line = self._process.stdout.readline()
        assert "ready" in line, f"{line!r}\n{self.errors}"

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        assert self._process is not None and self._process.stdout is not None
        code = self._process.wait(timeout=90)
        self._process.stdout.close()
        self._process = None
        while self._clients:
            self._clients.pop().http.close()
        return code

    def stop(self) -> None:
        self.signal(signal.SIGTERM)
        assert self.wait() == 0, self.errors

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait()

    def close(self) -> None:
        """Leaves nothing behind, however the test ended."""
        if self._process is not None:
            self.stop()
        worker = local_worker_is_alive(self.data)
        if worker is not None:
            os.kill(worker, signal.SIGTERM)
            until(lambda: local_worker_is_alive(self.data) is None, "the end of the worker")


def bash(script: str) -> str:
    """What a line of a README prints to standard output when bash runs it."""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=90)
    return done.stdout


def refused(*arguments: str, config: str | None = None, directory: Path) -> str:
    """Why `runner serve` does not start with such a configuration."""
    path = directory / "agent.yaml"
    path.write_text(config or "")
    command = [str(RUNNER), "serve", "--config", str(path), "--data-dir", str(directory / "data"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, env=clean_environment(), check=False)
    assert done.returncode not in (0, -signal.SIGTERM), done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr
