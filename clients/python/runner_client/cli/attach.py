"""`runner attach`: connect with a job that runs."""

from __future__ import annotations

import click

from runner_client.cli.report import UNKNOWN, USAGE, CommandLineError
from runner_client.cli.session import Session, command


@command("attach")
@click.argument("job_id", required=False, default="", metavar="[JOB_ID]")
@click.option("--id", "name", default="", metavar="NAME", help="The job that `runner exec --id NAME` started.")
@click.option("--no-stdin", is_flag=True, help="Only show what it writes.")
@click.option("--cursor", default="", help="Begin behind this cursor, as --json prints it. Default: the first byte.")
def command_line(session: Session, job_id: str, *, name: str, no_stdin: bool, cursor: str) -> int:
    """Connect with a job: its output comes here, our input goes to it.

    Ctrl-P Ctrl-Q detaches from a terminal; the job goes on. Exits as `runner exec` does.
    """
    if bool(job_id) == bool(name):
        raise CommandLineError("name one job", "runner attach JOB_ID, or --id NAME", code=USAGE)
    return session.run(_attach(session, job_id, name=name, keyboard=not no_stdin, cursor=cursor), failure=UNKNOWN)


async def _attach(session: Session, text: str, *, name: str, keyboard: bool, cursor: str) -> int:
    from runner_client.cli.following import Interrupts
    from runner_client.cli.interactive import Interaction
    from runner_client.cli.job_ids import whole_job_id

    async with session.client() as client:
        job_id = await whole_job_id(client, text) if text else ""
        connection = client.attach(job_id, request_id=name, cursor=cursor)
        interaction = Interaction(session, client, connection, terminal=None, keyboard=keyboard)
        with Interrupts(client) as interrupts:
            return await interaction.run(interrupts)
