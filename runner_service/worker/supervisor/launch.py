"""Starts a supervisor from the worker, so that it lives on without it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import NamedTuple

from runner_service.worker.supervisor.paths import Layout

READY_SECONDS = 30.0
"""More than a guard that still cleans up can keep the lock."""

_started: set[int] = set()
"""Guards that this process started and has not yet reaped."""


class LaunchFailed(Exception):
    """The supervisor did not start; the message says why."""


class Options(NamedTuple):
    """How a supervisor is to be; one that runs already stays as it is."""

    idle_exit_seconds: float = 30.0
    """Exits after so long without a live attempt and without a worker."""
    spool_limit_bytes: int = 4 << 30
    """Of all journals on disk together; then the jobs that write have to wait."""
    cgroup: bool = True
    """Use cgroups where they can be written; else, and without, /proc is searched for a job's processes, and rlimits
    have to do for its limits."""
    job_cpus: float = 0.0
    """The most that one job may use, whatever it asks for; 0: no limit."""
    job_memory_bytes: int = 0
    job_processes: int = 4096


async def launch(directory: str, options: Options = Options()) -> None:  # noqa: B008  It is immutable.
    """Starts a supervisor and returns when it listens, or when there is another one.

    It gets a session of its own, an interpreter without site-packages and, of the environment, only a PATH.

    Raises:
        LaunchFailed: It has exited, or is not ready in time.
    """
    reap()
    layout = Layout(directory)
    layout.make()
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.posix_spawn(  # noqa: ASYNC221  It returns when the exec has happened: half a millisecond.
            sys.executable,
            [
                sys.executable,
                *("-I", "-S", str(Path(__file__).with_name("__main__.py"))),
                *("--directory", layout.directory),
                *("--idle-exit", str(options.idle_exit_seconds)),
                *("--spool-limit", str(options.spool_limit_bytes)),
                *("--cgroup", "yes" if options.cgroup else "no"),
                *("--job-cpus", str(options.job_cpus)),
                *("--job-memory", str(options.job_memory_bytes)),
                *("--job-processes", str(options.job_processes)),
            ],
            {"PATH": os.environ.get("PATH", os.defpath)},
            file_actions=(
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, writing, 1),
                (os.POSIX_SPAWN_OPEN, 2, layout.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            ),
            setsid=True,
            setsigmask=(),
        )
    finally:
        os.close(writing)
    _started.add(pid)
    async with asyncio.timeout(READY_SECONDS):
        word = await _read_line(reading)
    if not word:
        code = await asyncio.to_thread(_wait, pid)
        if code != 3:  # Another one was faster, and has the directory.
            raise LaunchFailed(f"exit code {code}, see {layout.log}")


async def _read_line(fd: int) -> bytes:
    reader = asyncio.StreamReader()
    with open(fd, "rb", buffering=0) as pipe:  # noqa: ASYNC230
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            return await reader.readline()
        finally:
            transport.close()


def reap() -> None:
    """Reaps guards that have exited, so that they do not stay behind as zombies."""
    for pid in list(_started):
        try:
            done, _ = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            done = pid
        if done:
            _started.discard(pid)


def _wait(pid: int) -> int:
    _started.discard(pid)
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return -1
