"""`runner cancel`: end jobs."""

from __future__ import annotations

import click

from runner_client.cli.report import FAILED
from runner_client.cli.session import Session, command


@command("cancel")
@click.argument("job_ids", nargs=-1, required=True, metavar="JOB_ID...")
@click.option("--reason", default="", help="Kept with the job, for people.")
def command_line(session: Session, job_ids: tuple[str, ...], *, reason: str) -> int:
    """Cancel jobs and print their ids.

    A job that has ended stays as it is: that is an error, and the others are cancelled.
    """
    return session.run(_cancel(session, job_ids, reason))


async def _cancel(session: Session, job_ids: tuple[str, ...], reason: str) -> int:
    from runner_client.cli.job_ids import whole_job_id
    from runner_client.cli.output import as_json, print_json, print_line
    from runner_client.cli.report import complain_of
    from runner_client.errors import FailedPrecondition, NotFound

    code = 0
    async with session.client() as client:
        for text in job_ids:
            try:
                job = await client.cancel(await whole_job_id(client, text), reason=reason)
            except (FailedPrecondition, NotFound) as error:
                complain_of(error, session.server)
                code = FAILED
                continue
            if session.json:
                print_json(as_json(job))
            else:
                print_line(job.job_id)
    return code
