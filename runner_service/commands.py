"""What the server adds to the command line: ``serve``, ``join`` and ``api`` (entry-point group ``runner.commands``)."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runner_client import __version__
from runner_service.domain.own_log import write_own_log

log = logging.getLogger(__name__)

EXIT_CONFIG = 2
EXIT_CANNOT_SERVE = 1
_M_ARENA_MAX = -8
"""Of glibc's mallopt; other C libraries have neither."""


def serve(argv: Sequence[str], more: Mapping[str, Any] | None = None, defaults: Mapping[str, Any] | None = None) -> int:
    """``runner serve``: the server with its local runner, until SIGTERM or SIGINT. Returns the exit code. ``more``:
    settings beside those of the flags, nested like the file; ``defaults``: what holds where nobody says anything."""
    options = _serve_parser().parse_args(argv)
    from runner_service.config import ConfigError, load

    _log(options.log_level or "info", options.log_file)
    try:
        settings = load(options.config, _merged(_serve_flags(options), more or {}), defaults or {})
    except ConfigError as error:
        print(f"runner: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_CONFIG
    _log(settings.logging.level, options.log_file)
    # What the server writes is for nobody else, wherever it is copied to.
    os.umask(0o077)
    import uvloop

    # The store's threads hand results to the event loop all the time: with the default of 5 ms each waits for the
    # other's turn longer than its work takes.
    sys.setswitchinterval(0.0005)
    _share_heaps()
    gc.disable()  # Hardly anything that a start makes is garbage; to look for it was a tenth of its time.
    try:
        return uvloop.run(_serve(settings, keep_jobs=options.keep_jobs))
    finally:
        gc.enable()


API_DEFAULTS: Mapping[str, Any] = {"host": "localhost", "port": 8080, "log_requests": True, "cors_origins": ["*"]}
"""What `runner api` does unless a flag, the environment or the file says something else."""


def api(argv: Sequence[str]) -> int:
    """``runner api``: the server with the flags that SentinelStacks documents. Returns the exit code."""
    options = _api_parser().parse_args(argv)
    arguments = ["--log-level", "info"]
    said = {"host": options.host, "port": options.port, "log_requests": options.log_requests, "cors": options.cors}
    flags: dict[str, Any] = {"server": {name: value for name, value in said.items() if value is not None}}
    if options.tls_cert or options.tls_key:
        tls = {"enabled": True, "cert_file": options.tls_cert or "", "key_file": options.tls_key or ""}
        flags["security"] = {"tls": tls}
    if options.token_auth_secret:
        flags["sentinel"] = {"token_auth_secret": options.token_auth_secret}
    for name, value in (("--config", options.config), ("--data-dir", options.data_dir), ("--grpc", options.grpc)):
        arguments += [name, str(value)] if value else []
    if not options.token_auth_secret:
        print(  # noqa: T201
            "runner: no --token-auth-secret: tokens are signed with a random key that is kept in the data directory",
            file=sys.stderr,
        )
    return serve(arguments, flags, {"server": API_DEFAULTS})


def _api_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="runner api", description="Serves everything that `runner serve` does, with SentinelStacks' flags."
    )
    add = parser.add_argument
    add("--port", "-p", type=int, help="port to listen on (default: 8080)")
    add("--host", help="host address to listen on (default: localhost)")
    add("--tls-cert", metavar="FILE", help="TLS certificate")
    add("--tls-key", metavar="FILE", help="its key")
    add("--token-auth-secret", metavar="SECRET", help="key of login tokens (default: a random one, and a warning)")
    for name, what in (("cors", "let pages of any origin call"), ("log-requests", "log requests")):
        add(f"--{name}", type=_flag, nargs="?", const=True, metavar="BOOL", help=f"{what} (default: true)")
    add("--config", type=Path, metavar="FILE", help="further settings, as of `runner serve`")
    add("--data-dir", type=Path, metavar="DIR", help="where everything is kept (default: $XDG_STATE_HOME/runner)")
    add("--grpc", metavar="HOST:PORT", help="gRPC listener (default: 127.0.0.1:50051)")
    return parser


def _flag(text: str) -> bool:
    """A flag's value as Go's programs read it."""
    values = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError("give true or false")
    return values[text.lower()]


def _share_heaps() -> None:
    """Has the C library keep two heaps, not one for each thread: each keeps what its threads once took, which after a
    log of 1 GB was 105 MB more than before, against 27 MB with two."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 2)


def _spare_what_stays() -> None:
    """Has the garbage collector, which begins its work here, pass over what lives as long as the server, and look at
    the rest less often: with its defaults that was a twentieth of the work for a short command."""
    gc.enable()
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)  # What the start alone needed goes back to the system.
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _serve_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="runner serve", description="Serves gRPC and REST, with a runner on this machine."
    )
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help="YAML settings; a missing file means the defaults")
    add("--data-dir", type=Path, metavar="DIR", help="where everything is kept (default: $XDG_STATE_HOME/runner)")
    add("--http", action="append", metavar="HOST:PORT", help="HTTP listener in place of the configured; repeatable")
    add("--grpc", metavar="HOST:PORT", help="gRPC listener (default: 127.0.0.1:50051)")
    add("--no-local-runner", action="store_true", help="run no jobs on this machine")
    add("--insecure", action="store_true", help="let other machines in without a credential")
    add("--no-migrate", action="store_true", help="refuse a database of an older version instead of upgrading it")
    add(
        "--keep-jobs",
        action="store_true",
        help="at the end leave the local runner and its jobs running, for an upgrade",
    )
    add("--log-level", choices=["debug", "info", "warn", "error"], help="of the server's own log (default: info)")
    add("--log-file", type=Path, metavar="FILE", help="where the server's own log goes (default: standard error)")
    add("--version", action="version", version=f"runner {__version__}")
    return parser


def _serve_flags(options: argparse.Namespace) -> dict[str, Any]:
    """The flags that were given, nested like the file."""
    flags: dict[str, Any] = {}
    server: dict[str, Any] = {}
    if options.http:
        server["http"] = options.http
    if options.grpc:
        server["grpc"] = options.grpc
    if server:
        flags["server"] = server
    if options.data_dir:
        flags["data_dir"] = options.data_dir
    if options.no_local_runner:
        flags["executor"] = {"local_runner": False}
    if options.insecure:
        flags["security"] = {"insecure": True}
    if options.no_migrate:
        flags["store"] = {"migrate": False}
    if options.log_level:
        flags["logging"] = {"level": options.log_level}
    return flags


def _merged(flags: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    for name, section in more.items():
        flags[name] = {**section, **flags.get(name, {})}
    return flags


async def _serve(settings: Any, *, keep_jobs: bool) -> int:
    from runner_service.app import CANNOT_SERVE, open_app

    stop, hurry = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    if settings.security.insecure:
        log.warning(
            "--insecure: whoever reaches a port may run commands here, without a credential",
            extra={"action": "insecure"},
        )
    try:
        async with open_app(settings) as app:
            scheme = "https" if settings.security.tls.enabled else "http"
            http = " ".join(f"{scheme}://{address}" for address in app.http_addresses)
            _spare_what_stays()
            print(f"runner is ready: {http} grpc://{app.grpc_address}", flush=True)  # noqa: T201
            await stop.wait()
            await app.stop(keep_jobs=keep_jobs, hurry=hurry)
    except CANNOT_SERVE as error:
        print(f"runner: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_CANNOT_SERVE
    return 0


def join(argv: Sequence[str]) -> int:
    """``runner join``: makes this machine a runner of a server elsewhere. Returns the exit code."""
    options = _join_parser().parse_args(argv)
    from runner_service.config import default_data_dir
    from runner_service.worker.main import main

    arguments = ["--server", options.server, "--name", options.name, "--log-level", options.log_level]
    # Apart from a server's own directory: the two may live on one machine.
    arguments += ["--data-dir", str(options.data_dir or default_data_dir("runner-joined"))]
    arguments += ["--slots", str(options.slots)] if options.slots else []
    arguments += ["--tls"] if options.tls else []
    arguments += ["--no-containers"] if options.no_containers else []
    for name in ("tls_ca", "tls_cert", "tls_key", "job_cpus", "job_memory", "job_processes"):
        if getattr(options, name) is not None:
            arguments += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    for queue in options.queue:
        arguments += ["--queue", queue]
    for label in options.label:
        arguments += ["--label", label]
    return main(arguments)


def _join_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="runner join",
        description="Makes this machine a runner. Off loopback the server wants a key of role worker: RUNNER_TOKEN.",
    )
    add = parser.add_argument
    add(
        "--server",
        metavar="HOST:PORT",
        default=os.environ.get("RUNNER_SERVER", "127.0.0.1:50051"),
        help="the server, or unix:PATH (default: $RUNNER_SERVER, or this machine)",
    )
    add(
        "--data-dir", type=Path, metavar="DIR", help="identity, spool and work (default: $XDG_STATE_HOME/runner-joined)"
    )
    add("--tls", action="store_true", help="speak TLS, checked with well-known roots")
    add("--tls-ca", type=Path, metavar="FILE", help="speak TLS, checked with the certificates in this file")
    add("--tls-cert", type=Path, metavar="FILE", help="certificate to show to a server that demands one")
    add("--tls-key", type=Path, metavar="FILE", help="the key of that certificate")
    add("--name", default="", help="for people (default: the host name)")
    add("--slots", type=int, default=0, help="jobs at one time (default: one per processor)")
    add("--queue", action="append", default=[], metavar="NAME", help="serve this lab queue; repeatable")
    add("--label", action="append", default=[], metavar="NAME=VALUE", help="what jobs may require; repeatable")
    for name, words in (("cpus", "processors"), ("memory", "bytes of memory"), ("processes", "processes")):
        add(f"--job-{name}", metavar="N", help=f"the most {words} that one job may use")
    add("--no-containers", action="store_true", help="do not use the Docker engine of this machine (DOCKER_HOST)")
    add(
        "--log-level",
        default="info",
        choices=["debug", "info", "warn", "error"],
        help="of the worker's own log (default: info)",
    )
    return parser


def _log(level: str, file: Path | None) -> None:
    write_own_log(level, file)
    # Each migration is logged by the store; alembic tells about its plugins.
    logging.getLogger("alembic").setLevel(logging.WARNING)
