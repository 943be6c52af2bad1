"""`runner audit`: who changed what."""

from __future__ import annotations

import click

from runner_client.cli.session import Session, command

HEADS = ("TIME", "WHO", "ROLE", "FROM", "STATUS", "TARGET", "METHOD")


@command("audit")
@click.option("--who", default="", metavar="NAME", help="Only of this credential.")
@click.option("-n", "--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many.")
def command_line(session: Session, who: str, limit: int) -> int:
    """List what was changed, newest first. Needs the role admin."""
    return session.run(_audit(session, who, limit))


async def _audit(session: Session, who: str, limit: int) -> int:
    from runner_client.cli.output import as_json, print_json
    from runner_client.cli.table import print_table

    async with session.client() as client:
        entries = [entry async for entry in client.auth.audit(principal=who, limit=limit)]
    if session.json:
        print_json([as_json(entry) for entry in entries])
        return 0
    print_table(
        HEADS,
        [
            (
                entry.time.ToJsonString(),
                entry.principal or "-",
                entry.role or "-",
                entry.peer,
                entry.status,
                entry.target or "-",
                entry.method.removeprefix("/"),
            )
            for entry in entries
        ],
    )
    return 0
