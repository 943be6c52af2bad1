"""`runner runners`: the machines that jobs run on."""

from __future__ import annotations

from runner_client.cli.session import Session, command

HEADS = ("RUNNER ID", "NAME", "STATE", "SLOTS", "VERSION", "LABELS")


@command("runners")
def command_line(session: Session) -> int:
    """List the runners."""
    return session.run(_runners(session))


async def _runners(session: Session) -> int:
    from runner.v1.runner_pb2 import Runner
    from runner_client.cli.output import as_json, print_json
    from runner_client.cli.table import print_table

    async with session.client() as client:
        found = await client.list_runners()
    if session.json:
        print_json([as_json(runner) for runner in found])
        return 0
    print_table(
        HEADS,
        [
            (
                runner.runner_id,
                runner.name or "-",
                Runner.State.Name(runner.state).removeprefix("STATE_").lower() if runner.online else "offline",
                str(runner.slots),
                runner.version or "-",
                ",".join(f"{key}={value}" for key, value in sorted(runner.labels.items())) or "-",
            )
            for runner in found
        ],
    )
    return 0
