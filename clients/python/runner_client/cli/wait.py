"""`runner wait`: wait until jobs have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runner_client.cli.report import UNKNOWN, complain
from runner_client.cli.session import Session, command
from runner_client.cli.values import Duration

if TYPE_CHECKING:
    from runner_client.client import AsyncClient


@command("wait")
@click.argument("job_ids", nargs=-1, required=True, metavar="JOB_ID...")
@click.option("--timeout", type=Duration(), help="Give up after 30s, 5m … The jobs go on.")
def command_line(session: Session, job_ids: tuple[str, ...], *, timeout: float | None) -> int:
    """Wait until jobs have ended.

    Exits as `runner exec` would, for the first of them that did not succeed; with 125 also when the time was over
    before they ended.
    """
    return session.run(_wait(session, job_ids, timeout), failure=UNKNOWN)


async def _wait(session: Session, texts: tuple[str, ...], seconds: float | None) -> int:
    import asyncio

    from runner_client.cli.job_ids import whole_job_id

    async with session.client() as client:
        job_ids = [await whole_job_id(client, text) for text in texts]
        try:
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                tasks = [group.create_task(wait_for_end(session, client, job_id)) for job_id in job_ids]
        except TimeoutError:
            running = [job_id for job_id, task in zip(job_ids, tasks, strict=True) if task.cancelled()]
            complain(f"not ended yet: {', '.join(running)}", "wait longer, or `runner cancel` them")
            return UNKNOWN
    return next((code for task in tasks if (code := task.result())), 0)


async def wait_for_end(session: Session, client: AsyncClient, job_id: str) -> int:
    """Waits for one job, says how it ended, and returns its exit code."""
    from runner_client.cli.outcomes import exit_code, explanation, state_word, summary
    from runner_client.cli.output import as_json, print_json, print_line
    from runner_client.cli.waiting import telling_why_it_waits

    async with telling_why_it_waits(session, client, job_id):
        job = await client.wait(job_id)
    if session.json:
        print_json(as_json(job))
    else:
        print_line(f"{job.job_id}  {state_word(job.state)}  {summary(job.state, job.outcome)}".rstrip())
    if sentence := explanation(job.state, job.outcome):
        complain(f"{job.job_id}: {sentence}")
    return exit_code(job.state, job.outcome)
