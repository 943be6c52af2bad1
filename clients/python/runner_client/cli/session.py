"""What every command shares: the global options, accepted before and behind its name, the client, the loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import click

from runner_client.cli.report import BROKEN_PIPE, FAILED, INTERRUPTED, CommandLineError, complain, complain_of
from runner_client.cli.values import Duration, parse_duration

if TYPE_CHECKING:
    from runner_client.channel import Tls
    from runner_client.client import AsyncClient
    from runner_client.errors import ClientError

Options = ParamSpec("Options")

PATIENCE = 300.0
"""Seconds for which a server that was there is waited for: longer than any restart."""
NOTICE_SECONDS = 5.0
CONNECT_PATIENCE = 0.5
"""A person who names the wrong server wants to know at once."""


def _seconds_of(text: str | None) -> float:
    try:
        return parse_duration(text) if text else NOTICE_SECONDS
    except ValueError:
        return NOTICE_SECONDS


@dataclass(frozen=True)
class Session:
    """One command line: where the server is, and how to print."""

    server: str = field(default_factory=lambda: os.environ.get("RUNNER_SERVER") or "127.0.0.1:50051")
    token: str | None = field(default_factory=lambda: os.environ.get("RUNNER_TOKEN"))
    tls: bool = False
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    json: bool = False
    notice_after: float = field(default_factory=lambda: _seconds_of(os.environ.get("RUNNER_NOTICE_AFTER")))
    """Seconds after which it is said why a job that is followed waits; 0: never."""

    def client(self) -> AsyncClient:
        """Makes the client; to be called inside the loop, and used as a context manager."""
        from runner_client.client import AsyncClient

        return AsyncClient(
            self.server, token=self.token, tls=self._tls(), patience=PATIENCE, connect_patience=CONNECT_PATIENCE
        )

    def run(self, work: Coroutine[Any, Any, int], *, failure: int = FAILED) -> int:
        """Runs the command to its exit code. ``failure``: the code for an error of a call."""
        import asyncio

        from runner_client.errors import ClientError

        try:
            return asyncio.run(_first_of_a_group(work))
        except ClientError as error:
            if why := self._misunderstanding(error):
                complain(why)
            else:
                complain_of(error, self.server)
            return failure
        except CommandLineError as error:
            complain(error.what, error.advice)
            return error.code
        except BrokenPipeError:
            return BROKEN_PIPE
        except OSError as error:
            complain(f"cannot write the output: {error.strerror}")
            return failure
        except KeyboardInterrupt:
            return INTERRUPTED

    def _tls(self) -> Tls | None:
        from runner_client.channel import Tls

        wanted = self.tls or self.tls_ca or self.tls_cert or self.tls_key
        return Tls(self.tls_ca, self.tls_cert, self.tls_key) if wanted else None

    def _misunderstanding(self, error: ClientError) -> str:
        """Why a server that does not answer does not, where it is there and one side speaks TLS alone; else empty."""
        import asyncio

        from runner_client.channel import parse_target
        from runner_client.contact import misunderstanding, unwelcome
        from runner_client.errors import Unavailable

        if type(error) is not Unavailable or error.reason != "UNAVAILABLE":
            return ""

        async def ask() -> str:
            target, tls = parse_target(self.server), self._tls()
            return await misunderstanding(target, tls) or await unwelcome(target, tls)

        return asyncio.run(ask())


async def _first_of_a_group(work: Coroutine[Any, Any, int]) -> int:
    """Awaits ``work``; of errors that came together, as a group of tasks raises them, the first is told."""
    try:
        return await work
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


def global_options() -> list[click.Parameter]:
    """Returns the options that the program and each of its commands take."""
    return [
        click.Option(["--server"], metavar="HOST:PORT", help="Or unix:PATH. Default: $RUNNER_SERVER, or this machine."),
        click.Option(["--token"], metavar="KEY", help="Key to show to the server. Default: $RUNNER_TOKEN."),
        click.Option(["--tls"], is_flag=True, help="Speak TLS, checked with well-known roots."),
        click.Option(
            ["--tls-ca"],
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="Speak TLS, checked with the certificates in this file.",
        ),
        click.Option(
            ["--tls-cert"],
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="Certificate to show to a server that demands one, with --tls-key.",
        ),
        click.Option(
            ["--tls-key"], metavar="FILE", type=click.Path(path_type=Path), help="The key of that certificate."
        ),
        click.Option(["--json"], is_flag=True, help="Print JSON, for programs."),
        click.Option(
            ["--notice-after"],
            metavar="TIME",
            type=Duration(),
            help="Say why a job that we follow waits when it does for so long; 0: never. Default: 5s.",
        ),
    ]


def take_global_options(context: click.Context, given: dict[str, Any]) -> Session:
    """Returns the session with the options in ``given``, which wins over the program's own; takes them out of it."""
    own = {name: given.pop(name) for name in ("server", "token", "tls", "tls_ca", "tls_cert", "tls_key", "json")}
    own = {name: value for name, value in own.items() if value}
    if (after := given.pop("notice_after")) is not None:
        own["notice_after"] = after
    return replace(context.obj or Session(), **own)


def command(name: str, **settings: Any) -> Callable[[Callable[Concatenate[Session, Options], int]], click.Command]:
    """Makes a command of a function that takes a session and returns an exit code."""

    def decorate(function: Callable[Concatenate[Session, Options], int]) -> click.Command:
        @click.pass_context
        def run(context: click.Context, /, **given: Any) -> None:
            session = take_global_options(context, given)
            try:
                code = function(session, **given)  # type: ignore[call-arg]
            except CommandLineError as error:
                complain(error.what, error.advice)
                code = error.code
            context.exit(code)

        own = list(reversed(getattr(function, "__click_params__", [])))
        return click.Command(name, callback=run, params=[*own, *global_options()], help=function.__doc__, **settings)

    return decorate


def group(name: str, *, help: str) -> click.Group:
    """Makes a command of commands; the global options may stand behind its name too."""

    @click.pass_context
    def take(context: click.Context, /, **given: Any) -> None:
        context.obj = take_global_options(context, given)

    return click.Group(name, callback=take, params=global_options(), help=help, no_args_is_help=True)
