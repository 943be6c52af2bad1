"""`runner retry`: do again what a job did."""

from __future__ import annotations

import click

from runner_client.cli.report import UNKNOWN
from runner_client.cli.session import Session, command


@command("retry")
@click.argument("job_id", metavar="JOB_ID")
@click.option("-f", "--follow", is_flag=True, help="Stream its output; the job id goes to stderr.")
@click.option("-w", "--wait", is_flag=True, help="Wait until it has ended.")
@click.option("--id", "name", default="", metavar="NAME", help="Said again with it: the same job, no second one.")
def command_line(session: Session, job_id: str, *, follow: bool, wait: bool, name: str) -> int:
    """Make a new job of one that has ended, however it did, and print the new id.

    It runs the same with the same files, secrets, labels and tags. What was typed into the old one is not kept.

    With --follow or --wait it exits as `runner exec` would. Ctrl-C then leaves, and the job goes on.
    """
    work = _retry(session, job_id, name, follow=follow, wait=wait)
    return session.run(work, failure=UNKNOWN if follow or wait else 1)


async def _retry(session: Session, text: str, name: str, *, follow: bool, wait: bool) -> int:
    from runner_client.cli.job_ids import whole_job_id
    from runner_client.cli.submit import see_through

    async with session.client() as client:
        job = await client.retry(await whole_job_id(client, text), request_id=name or None)
        return await see_through(session, client, job, follow=follow, wait=wait)
