"""`runner drain`: let a machine finish what it has and take no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runner_client.cli.report import FAILED, CommandLineError
from runner_client.cli.runners import id_of
from runner_client.cli.session import Session, command

if TYPE_CHECKING:
    from runner.v1.runner_pb2 import Runner
    from runner_client import AsyncClient

POLL_SECONDS = 1.0


@command("drain")
@click.argument("runners", nargs=-1, required=True, metavar="RUNNER...")
@click.option("--undo", is_flag=True, help="Let them take work again.")
@click.option("--wait", is_flag=True, help="Return when they have no job left.")
@click.option("--reason", default="", help="Kept in the runner's feed, for people.")
def command_line(session: Session, runners: tuple[str, ...], *, undo: bool, wait: bool, reason: str) -> int:
    """Drain runners: what they run goes on, new work goes elsewhere. RUNNER is an id or a name.

    Prints the ids. A drained runner is started again with --undo; its worker may be stopped, upgraded and started in
    between.
    """
    if undo and wait:
        raise click.UsageError("--undo and --wait exclude each other")
    return session.run(_drain(session, runners, undo=undo, wait=wait, reason=reason))


async def _drain(session: Session, names: tuple[str, ...], *, undo: bool, wait: bool, reason: str) -> int:
    from runner_client.cli.output import as_json, print_json, print_line
    from runner_client.cli.report import complain, complain_of
    from runner_client.errors import FailedPrecondition, NotFound, Unavailable

    code = 0
    async with session.client() as client:
        known = await client.list_runners()
        for name in names:
            try:
                runner_id = id_of(known, name)
                runner = await (
                    client.start_runner(runner_id) if undo else client.drain_runner(runner_id, reason=reason)
                )
                if wait:
                    runner = await _drained(client, runner)
            except CommandLineError as error:
                complain(error.what, error.advice)
                code = FAILED
                continue
            except (FailedPrecondition, NotFound, Unavailable) as error:
                complain_of(error, session.server)
                code = FAILED
                continue
            if session.json:
                print_json(as_json(runner))
            else:
                print_line(runner.runner_id)
    return code


async def _drained(client: AsyncClient, runner: Runner) -> Runner:
    import asyncio

    from runner.v1.runner_pb2 import Runner

    while runner.state != Runner.STATE_INACTIVE:
        await asyncio.sleep(POLL_SECONDS)
        runner = await client.get_runner(runner.runner_id)
    return runner
