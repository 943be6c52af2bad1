"""The parser: global options, and commands whose modules are loaded when they are called."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import click

from runner_client import __version__
from runner_client.cli.extensions import EXTENSIONS, installed
from runner_client.cli.report import INTERRUPTED, USAGE, complain
from runner_client.cli.session import global_options, take_global_options

COMMANDS = (
    "exec",
    "attach",
    "submit",
    "cp",
    "logs",
    "ps",
    "show",
    "wait",
    "cancel",
    "retry",
    "runners",
    "drain",
    "queues",
    "secrets",
    "agents",
    "images",
    "keys",
    "whoami",
    "audit",
    "completion",
)
"""Each lives in the module of its name, as ``command_line``."""


class LazyGroup(click.Group):
    """Commands by name, each loaded from its own module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *installed()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            found: click.Command = import_module(f"runner_client.cli.{cmd_name}").command_line
            return found
        return _extension(cmd_name) if cmd_name in EXTENSIONS else None


def _extension(name: str) -> click.Command:
    """Makes a command for the help alone: what has it as its first word never comes to this parser."""

    def refuse(arguments: tuple[str, ...]) -> None:
        complain(f"options of `runner {name}` stand behind its name", f"runner {name} …")
        raise click.exceptions.Exit(USAGE)

    return click.Command(
        name,
        callback=refuse,
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        help=EXTENSIONS[name],
        context_settings={"ignore_unknown_options": True},
        add_help_option=False,
    )


@click.pass_context
def _root(context: click.Context, /, **given: Any) -> None:
    context.obj = take_global_options(context, given)


app = LazyGroup(
    "runner",
    callback=_root,
    params=global_options(),
    help="Run commands and jobs on your machines and follow their output live.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
click.version_option(__version__, message="runner %(version)s")(app)


def run(argv: list[str]) -> int:
    """Runs a command line and returns its exit code."""
    # gRPC's core would write its own lines between those of the job.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        app(argv, prog_name="runner")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0
