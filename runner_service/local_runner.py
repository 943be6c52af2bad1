"""The runner that a server brings along: its worker as a child process that may outlive the server.

A worker holds a lock in the data directory. Where one lives already, left behind by a server that was killed or told to
keep its jobs, it is used as it is; else one is started, and started again whenever it dies.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner_service.worker.identity import load_identity, local_worker_is_alive

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""Between looks whether the worker lives; a lock has no event."""
RESTART_SECONDS = 1.0
"""Before a worker that died is started again."""
READY_SECONDS = 10.0
"""A worker that was started takes its lock, and can be told things, within this time."""
STOP_SECONDS = 20.0
"""A worker that was told to stop ends its jobs and reports them; in a hurry it gets less."""
HURRY_SECONDS = 5.0
"""Then it is told to skip its waits, and killed when that takes as long again."""


class LocalRunner:
    """Keeps the local worker alive. `run` is its task."""

    def __init__(
        self,
        *,
        data_dir: Path,
        server: str,
        slots: int,
        log_level: str,
        job_limits: Mapping[str, float] | None = None,
        queues: Sequence[str] = (),
        containers: bool = True,
    ) -> None:
        """``job_limits``: the most that one job may use, by the name of the worker's flag without ``--job-``.
        ``queues``: lab queues that it serves. ``containers``: it runs them, where there is an engine."""
        self._data_dir = data_dir
        self._command = [
            sys.executable,
            "-P",  # Else a module of the directory that the server was started in goes before ours.
            "-m",
            "runner_service.worker",
            "--data-dir",
            str(data_dir),
            "--server",
            server,
            "--slots",
            str(slots),
            "--log-level",
            log_level if log_level in ("debug", "warn", "error") else "info",
            "--local",
            *(() if containers else ("--no-containers",)),
            *(part for queue in queues for part in ("--queue", queue)),
            *(part for name, most in (job_limits or {}).items() for part in (f"--job-{name}", str(most))),
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False

    @property
    def runner_id(self) -> str:
        """Empty before the worker registered for the first time."""
        identity = load_identity(self._data_dir)
        return identity.runner_id if identity is not None else ""

    def pid(self) -> int | None:
        """The living worker, whoever started it."""
        return local_worker_is_alive(self._data_dir)

    async def run(self) -> None:
        """Starts the worker when there is none, for ever."""
        while not self._stopping:
            if self._process is not None and self._process.poll() is not None:
                log.warning(
                    "local worker ended with %s, starting another",
                    self._process.returncode,
                    extra={"action": "worker_ended"},
                )
                self._process = None
                await asyncio.sleep(RESTART_SECONDS)
            elif self._process is None and self.pid() is None:
                self._start()
            else:
                await asyncio.sleep(LOOK_SECONDS)

    def _start(self) -> None:
        # A session of its own: Ctrl-C at the terminal is for the server, which stops the worker in its own order.
        # Nothing of the server's environment but what processes need: the rest may hold secrets.
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=_environment(),
            close_fds=True,
            umask=0o022,  # Of what it puts into a job's directory, where the job may run as somebody else.
        )
        log.info("local worker started", extra={"action": "worker_started", "pid": self._process.pid})

    async def stop(self, hurry: asyncio.Event) -> None:
        """Ends the worker with its jobs and its supervisor; ``hurry`` cuts the time that it gets."""
        self._stopping = True
        pid = await self._ready()
        if not pid:
            return
        _signal(pid, signal.SIGTERM)
        if await self._ended(pid, STOP_SECONDS, hurry) or await self._ended(pid, HURRY_SECONDS):
            return
        _signal(pid, signal.SIGTERM)
        if await self._ended(pid, HURRY_SECONDS):
            return
        log.error("local worker does not stop, killing it", extra={"action": "worker_killed", "pid": pid})
        _signal(pid, signal.SIGKILL)
        await self._ended(pid, HURRY_SECONDS)

    async def _ready(self) -> int | None:
        """The worker, once it heeds signals: it takes its lock after that. One that died is replaced even now, because
        its jobs live on, and only a worker ends them and their supervisor."""
        for _ in range(int(READY_SECONDS / _STEP_SECONDS)):
            pid = self.pid()
            if pid:
                return pid
            if self._process is not None and self._process.poll() is not None:
                self._process = None
            if self._process is None and pid is None:
                self._start()
            await asyncio.sleep(_STEP_SECONDS)
        log.error("local worker does not start", extra={"action": "worker_start_failed"})
        return self._process.pid if self._process is not None else None

    async def _ended(self, pid: int, seconds: float, cut: asyncio.Event | None = None) -> bool:
        """Waits until it has ended, for so long or until ``cut``."""
        for _ in range(int(seconds / _STEP_SECONDS)):
            if not _lives(pid):
                if self._process is not None:
                    self._process.poll()
                return True
            if cut is not None and cut.is_set():
                break
            await asyncio.sleep(_STEP_SECONDS)
        return False


_STEP_SECONDS = 0.05
_KEPT = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "TZ",
    "TMPDIR",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "DOCKER_HOST",
    "DOCKER_CONFIG",
)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("LC_")}


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _lives(pid: int) -> bool:
    try:
        with Path(f"/proc/{pid}/stat").open() as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
