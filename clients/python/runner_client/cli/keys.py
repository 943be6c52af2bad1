"""`runner keys`: the keys that the service made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runner_client.cli.session import Session, command, group
from runner_client.cli.values import Duration

if TYPE_CHECKING:
    from runner.v1.api_key_pb2 import ApiKey

HEADS = ("KEY ID", "NAME", "ROLE", "STATE", "MADE", "BY")
ROLES = ("viewer", "operator", "admin", "worker")

command_line = group("keys", help="Make, list and revoke keys. Needs the role admin.")


@command("create")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="operator", show_default=True, help="What it may do.")
@click.option("--expires", type=Duration(), help="After this time it is good for nothing. Default: never.")
def create(session: Session, name: str, role: str, expires: float | None) -> int:
    """Make a key and print it, this once."""
    return session.run(_create(session, name, role, expires))


@command("list")
def list_keys(session: Session) -> int:
    """List the keys that the service made; those of its settings are not among them."""
    return session.run(_list(session))


@command("revoke")
@click.argument("key_id")
def revoke(session: Session, key_id: str) -> int:
    """Make a key good for nothing."""
    return session.run(_revoke(session, key_id))


for each in (create, list_keys, revoke):
    command_line.add_command(each)


async def _create(session: Session, name: str, role: str, expires: float | None) -> int:
    from runner.v1.api_key_pb2 import ApiKey
    from runner_client.cli.output import as_json, print_json, print_line

    async with session.client() as client:
        made = await client.auth.create_key(name, ApiKey.Role.Value(f"ROLE_{role.upper()}"), lifetime=expires)
    if session.json:
        print_json(as_json(made))
    else:
        print_line(made.key)
    return 0


async def _list(session: Session) -> int:
    from runner_client.cli.output import as_json, print_json
    from runner_client.cli.table import print_table

    async with session.client() as client:
        keys = await client.auth.list_keys()
    if session.json:
        print_json([as_json(key) for key in keys])
    else:
        print_table(HEADS, [_row(key) for key in keys])
    return 0


async def _revoke(session: Session, key_id: str) -> int:
    from runner_client.cli.output import as_json, print_json, print_line

    async with session.client() as client:
        key = await client.auth.revoke_key(key_id)
    if session.json:
        print_json(as_json(key))
    else:
        print_line(key.key_id)
    return 0


def _row(key: ApiKey) -> tuple[str, ...]:
    from datetime import UTC, datetime

    state = "good"
    if key.HasField("revoke_time"):
        state = "revoked"
    elif key.HasField("expire_time"):
        over = key.expire_time.ToDatetime(UTC) <= datetime.now(UTC)
        state = "expired" if over else f"until {key.expire_time.ToJsonString()[:16]}Z"
    role = type(key).Role.Name(key.role).removeprefix("ROLE_").lower()
    return (key.key_id, key.name, role, state, key.create_time.ToJsonString()[:19] + "Z", key.created_by or "-")
