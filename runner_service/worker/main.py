"""The worker as a program: what `runner serve` starts beside itself, and `runner join` runs.

Signals: SIGTERM and SIGINT end the jobs and then the worker, a second one hurries; SIGUSR1 ends the worker alone and
leaves its jobs to their supervisor, for the worker that comes after (upgrade).
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import platform
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from runner_client.channel import Tls, parse_target
from runner_client.errors import InvalidTarget
from runner_service.domain.own_log import write_own_log
from runner_service.domain.queues import labels_for
from runner_service.worker.executors.base import Executor
from runner_service.worker.executors.docker import DockerExecutor
from runner_service.worker.executors.native import NativeExecutor
from runner_service.worker.identity import WorkerAlive, worker_directory
from runner_service.worker.supervisor.launch import Options
from runner_service.worker.times import ExitCode
from runner_service.worker.worker import Worker

TOKEN_VARIABLE = "RUNNER_TOKEN"
"""The join token: the only thing a worker reads from the environment."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, works, and returns the exit code (`ExitCode`)."""
    options = _parser().parse_args(arguments)
    write_own_log(options.log_level)
    return work(
        data_directory=options.data_dir,
        target=options.server,
        tls=_tls(options),
        name=options.name,
        slots=options.slots,
        labels=served_labels(dict(options.label), options.queue, options.name),
        local=options.local,
        join_token=os.environ.pop(TOKEN_VARIABLE, ""),
        options=Options(
            job_cpus=options.job_cpus, job_memory_bytes=options.job_memory, job_processes=options.job_processes
        ),
        containers=options.containers,
    )


def work(
    *,
    data_directory: Path,
    target: str,
    tls: Tls | None = None,
    name: str = "",
    slots: int = 0,
    labels: dict[str, str] | None = None,
    local: bool = False,
    join_token: str = "",
    version: str = "",
    options: Options = Options(),  # noqa: B008  It is immutable.
    containers: bool = True,
) -> int:
    """Runs a worker in this process until a signal ends it. ``slots`` 0: one per processor. ``containers``: runs them
    where there is a Docker engine."""

    def executor() -> Executor:
        kind = DockerExecutor if containers else NativeExecutor
        return kind(str(worker_directory(data_directory)), options)

    async def run() -> ExitCode:
        worker = Worker(
            target=parse_target(target),
            tls=tls,
            data_directory=data_directory,
            executor=executor(),
            name=name,
            labels=labels,
            slots=slots or os.cpu_count() or 1,
            join_token=join_token,
            local=local,
            version=version or _version(),
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.stop)
        loop.add_signal_handler(signal.SIGUSR1, lambda: worker.stop(keep_jobs=True))
        return await worker.run()

    try:
        worker_directory(data_directory)
    except OSError as error:
        logging.getLogger(__name__).error(
            "cannot use the data directory %s: %s; give another with --data-dir",
            data_directory,
            error.strerror,
            extra={"action": "unusable_directory"},
        )
        return ExitCode.USAGE
    try:
        code = asyncio.run(run())
        if code is ExitCode.RESTART:
            _begin_anew()
        return code
    except WorkerAlive as error:
        logging.getLogger(__name__).error("%s", error, extra={"action": "locked"})
        return ExitCode.LOCKED
    except InvalidTarget as error:
        logging.getLogger(__name__).error("%s", error, extra={"action": "unusable_target"})
        return ExitCode.USAGE


def _begin_anew() -> None:
    """Runs this program again from its start, in place of this process and with what is installed now. Its identity is
    stored, and its jobs live with their supervisor."""
    logging.getLogger(__name__).info("Beginning anew, as the server asked.", extra={"action": "restart"})
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def served_labels(declared: dict[str, str], queues: Sequence[str], name: str) -> dict[str, str]:
    """The declared labels, and those by which jobs of lab queues know who serves them, and under which name."""
    return {**declared, **labels_for(queues, name or platform.node())} if queues else declared


def _version() -> str:
    from runner_client import __version__

    return __version__


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m runner_service.worker",
        description="Makes this machine a runner. A join token is read from RUNNER_TOKEN.",
    )
    parser.add_argument("--data-dir", type=Path, required=True, help="where identity, spool and work directories live")
    parser.add_argument("--server", required=True, metavar="unix:PATH|HOST:PORT")
    parser.add_argument("--tls", action="store_true", help="speak TLS; well-known roots check the server")
    parser.add_argument("--tls-ca", type=Path, metavar="FILE", help="speak TLS; these certificates check the server")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate to show to the server")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="the key of that certificate")
    parser.add_argument("--name", default="", help="for people; default: the host name")
    parser.add_argument("--slots", type=_slots, default=0, help="jobs at one time; default: one per processor")
    most = parser.add_argument_group("the most that one job may use; 0: no limit")
    most.add_argument("--job-cpus", type=_amount(float), default=0.0, metavar="N", help="processors")
    most.add_argument("--job-memory", type=_amount(int), default=0, metavar="BYTES")
    most.add_argument("--job-processes", type=_amount(int), default=Options().job_processes, metavar="N")
    parser.add_argument(
        "--no-containers", dest="containers", action="store_false", help="do not use the Docker engine of DOCKER_HOST"
    )
    parser.add_argument("--label", type=_label, action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--queue", action="append", default=[], metavar="NAME", help="serve this lab queue; repeatable")
    parser.add_argument("--local", action="store_true", help="end when idle and the server stays away")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warn", "error"))
    return parser


def _amount(kind: Callable[[str], float]) -> Callable[[str], float]:
    def amount(text: str) -> float:
        value = kind(text)
        if not 0 <= value < float("inf"):
            raise ValueError(text)
        return value

    return amount


def _slots(text: str) -> int:
    slots = int(text)
    if slots < 1:
        raise ValueError(text)
    return slots


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(text)
    return name, value


def _tls(options: argparse.Namespace) -> Tls | None:
    if not (options.tls or options.tls_ca or options.tls_cert or options.tls_key):
        return None
    return Tls(options.tls_ca, options.tls_cert, options.tls_key)
