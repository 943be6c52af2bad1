"""`runner secrets`: values that jobs get by name."""

from __future__ import annotations

import os
from pathlib import Path

import click

from runner_client.cli.report import USAGE, CommandLineError
from runner_client.cli.session import Session, command, group

command_line = group(
    "secrets", help="Set, list and delete secrets: values that jobs get by name and that no log shows."
)


@command("set")
@click.argument("name")
@click.option("--file", type=click.Path(path_type=Path), help="Read the value from a file, as it is.")
def set_secret(session: Session, name: str, *, file: Path | None) -> int:
    """Set a secret, from standard input: one line in a terminal, unseen; else all of it but a last line end."""
    return session.run(_set(session, name, _value(file)))


@command("list")
def list_secrets(session: Session) -> int:
    """List all secrets, without their values."""
    return session.run(_list(session))


@command("rm")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def remove_secrets(session: Session, names: tuple[str, ...]) -> int:
    """Delete secrets. Jobs that run keep theirs."""
    return session.run(_remove(session, names))


for each in (set_secret, list_secrets, remove_secrets):
    command_line.add_command(each)


def _value(file: Path | None) -> bytes:
    try:
        if file is not None:
            return file.read_bytes()
        if os.isatty(0):
            typed: str = click.prompt("Value", hide_input=True, err=True)
            return typed.encode()
        with open(0, "rb", closefd=False) as stdin:
            return stdin.read().removesuffix(b"\n").removesuffix(b"\r")
    except OSError as error:
        raise CommandLineError(f"cannot read the value: {error.strerror}", code=USAGE) from None


async def _set(session: Session, name: str, value: bytes) -> int:
    from runner_client.cli.output import as_json, print_json

    async with session.client() as client:
        secret = await client.secrets.set(name, value)
    if session.json:
        print_json(as_json(secret))
    return 0


async def _list(session: Session) -> int:
    from runner_client.cli.output import as_json, print_json
    from runner_client.cli.table import print_table

    async with session.client() as client:
        secrets = await client.secrets.list()
    if session.json:
        print_json([as_json(secret) for secret in secrets])
        return 0
    rows = [(secret.name, f"{secret.update_time.ToDatetime():%Y-%m-%d %H:%M}", secret.created_by) for secret in secrets]
    print_table(("NAME", "SET (UTC)", "BY"), rows)
    return 0


async def _remove(session: Session, names: tuple[str, ...]) -> int:
    from runner_client.cli.output import print_json

    async with session.client() as client:
        for name in names:
            await client.secrets.delete(name)
            if session.json:
                print_json({"name": name})
    return 0
