"""A real `runner serve` with its worker and supervisor, on a temporary data directory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import yaml

from benchmarks.figures import Stopwatch

RUNNER = Path(sys.executable).parent / "runner"
STOP_SECONDS = 30.0
_READY = re.compile(r"^runner is ready: http://(\S+) grpc://(\S+)$")


class CannotServe(Exception):
    """The server ended instead of serving."""


class Server:
    """A running server: where it listens, and its processes."""

    def __init__(self, process: subprocess.Popen[str], directory: Path) -> None:
        watch = Stopwatch()
        assert process.stdout is not None
        line = process.stdout.readline()
        self.ready_seconds = watch.seconds
        """From the start of the process to its ready line."""
        found = _READY.match(line.strip())
        if found is None:
            raise CannotServe((directory / "errors").read_text() or line)
        self.http, self.grpc = found[1], found[2]
        self._process = process
        self.data_dir = str(directory / "data")

    @property
    def pid(self) -> int:
        return self._process.pid

    def processes(self) -> dict[str, psutil.Process]:
        """``server``, ``worker``, ``supervisor`` and ``guard`` (the supervisor's parent), as far as they run."""
        found = {"server": psutil.Process(self.pid)}
        for process in found["server"].children(recursive=True):
            words = " ".join(process.cmdline())
            if "runner_service.worker" in words:
                found["worker"] = process
            elif "supervisor" in words and "worker" in found:
                # The guard is forked first and is the parent of the other.
                found["guard" if "guard" not in found else "supervisor"] = process
        return found


@contextmanager
def serve(*, slots: int = 16) -> Iterator[Server]:
    """Starts a server with ``slots`` and stops it with everything it started."""
    with tempfile.TemporaryDirectory(prefix="runner-bench-") as name:
        directory = Path(name)
        config = directory / "config.yaml"
        config.write_text(yaml.safe_dump({"executor": {"max_concurrent_jobs": slots}, "logging": {"level": "warn"}}))
        command = [str(RUNNER), "serve", "--config", str(config), "--data-dir", str(directory / "data")]
        command += ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]
        with (directory / "errors").open("wb") as errors:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        try:
            yield Server(process, directory)
        finally:
            _end(process, str(directory))


def _end(process: subprocess.Popen[str], mark: str) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
    for left in _bearing(mark):
        # The worker and the supervisor have sessions of their own.
        os.kill(left, signal.SIGKILL)


def _bearing(mark: str) -> list[int]:
    """Processes with ``mark``, the name of our own temporary directory, in their command line."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(mark in word for word in process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found
