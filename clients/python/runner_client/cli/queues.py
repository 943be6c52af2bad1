"""`runner queues`: the queues of a lab."""

from __future__ import annotations

from runner_client.cli.session import Session, command

HEADS = ("QUEUE", "WAITING", "RUNNING", "SERVED BY", "OWNERS", "DESCRIPTION")


@command("queues")
def command_line(session: Session) -> int:
    """List the queues of a lab, and who serves them."""
    return session.run(_queues(session))


async def _queues(session: Session) -> int:
    from runner_client.cli.output import as_json, print_json
    from runner_client.cli.table import print_table

    async with session.client() as client:
        found = await client.queues.list()
    if session.json:
        print_json([as_json(queue) for queue in found])
        return 0
    print_table(
        HEADS,
        [
            (
                queue.name,
                str(queue.waiting_jobs),
                str(queue.running_jobs),
                ",".join(queue.serving) or "nobody",
                (",".join(queue.owners) or "nobody") if queue.restricted else "-",
                queue.description or "-",
            )
            for queue in found
        ],
    )
    return 0
