"""`runner ps`: the jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runner_client.cli.session import Session, command

if TYPE_CHECKING:
    from runner.v1.job_pb2 import Job
    from runner_client.client import AsyncClient

ACTIVE = ("queued", "assigned", "running")
STATES = (*ACTIVE, "succeeded", "failed", "timed_out", "cancelled", "lost")


@command("ps")
@click.option("-a", "--all", "everything", is_flag=True, help="Also those that have ended.")
@click.option(
    "-n", "--limit", type=click.IntRange(0), metavar="N", default=50, show_default=True, help="At most so many; 0: all."
)
@click.option("--state", multiple=True, type=click.Choice(STATES), help="Only in this state, repeatable.")
@click.option("-w", "--watch", is_flag=True, help="Go on and show changes until Ctrl-C.")
def command_line(session: Session, *, everything: bool, limit: int, state: tuple[str, ...], watch: bool) -> int:
    """List the jobs that have not ended, newest first."""
    words = state or (() if everything else ACTIVE)
    return session.run(_ps(session, words, limit or None, watch=watch))


async def _ps(session: Session, words: tuple[str, ...], limit: int | None, *, watch: bool) -> int:
    from runner_client.cli.jobs_table import HEADS, rows
    from runner_client.cli.output import as_json, print_json
    from runner_client.cli.table import on_terminal, print_table
    from runner_client.cli.watching import print_events, show_live, utc_now

    async with session.client() as client:
        if watch and not session.json and on_terminal():
            await show_live(client, lambda: _jobs(client, words, limit))
        jobs = await _jobs(client, words, limit)
        if session.json and not watch:
            print_json([as_json(job) for job in jobs])
        elif session.json:
            for job in jobs:
                print_json(as_json(job))
        else:
            print_table(HEADS, rows(jobs, utc_now()))
        if watch:
            await print_events(client, as_json=session.json)
    return 0


async def _jobs(client: AsyncClient, words: tuple[str, ...], limit: int | None) -> list[Job]:
    from runner.v1.job_pb2 import Job

    states = [Job.State.Value(f"STATE_{word.upper()}") for word in words]
    return [job async for job in client.list_jobs(states=states, limit=limit)]
