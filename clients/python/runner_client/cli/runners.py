"""`runner runners`: the machines that jobs run on, and what to do with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from runner_client.cli.session import Session, command, group
from runner_client.cli.values import Duration

if TYPE_CHECKING:
    from runner.v1.runner_pb2 import Runner, RunnerLogEntry
    from runner_client.client import AsyncClient

HEADS = ("RUNNER ID", "NAME", "STATE", "SLOTS", "VERSION", "LABELS")
LEVELS = ("debug", "info", "warn", "error")
REDRAW_SECONDS = 1.0

command_line = group("runners", help="List the runners, or control one: RUNNER is an id or a name.")
# By itself it lists.
command_line.invoke_without_command = True
command_line.no_args_is_help = False


@command("list")
def list_command(session: Session) -> int:
    """List the runners."""
    return session.run(_list(session))


@command("show")
@click.argument("runner")
@click.option("--check", is_flag=True, help="Have its health checked now.")
def show(session: Session, runner: str, *, check: bool) -> int:
    """Show one runner: state, load, jobs, health."""
    return session.run(_show(session, runner, check=check))


@command("start")
@click.argument("runner")
def start(session: Session, runner: str) -> int:
    """Let a runner take work."""
    return session.run(_control(session, runner, "start", None, ""))


@command("drain")
@click.argument("runner")
@click.option("--reason", default="", help="Kept in the runner's feed, for people.")
def drain(session: Session, runner: str, *, reason: str) -> int:
    """Let a runner finish what it has and take no more; returns at once."""
    return session.run(_control(session, runner, "drain", None, reason))


@command("stop")
@click.argument("runner")
@click.option("--timeout", type=Duration(), help="Let its jobs end by themselves for so long. Default: end them now.")
@click.option("--reason", default="", help="Kept in the runner's feed, for people.")
def stop(session: Session, runner: str, *, timeout: float | None, reason: str) -> int:
    """Stop a runner and wait until it has stopped. What waits for it stays queued."""
    return session.run(_control(session, runner, "stop", timeout, reason))


@command("restart")
@click.argument("runner")
@click.option("--timeout", type=Duration(), help="Let its jobs end by themselves for so long. Default: end them now.")
@click.option("--reason", default="", help="Kept in the runner's feed, for people.")
def restart(session: Session, runner: str, *, timeout: float | None, reason: str) -> int:
    """Let the worker of a runner begin anew; returns at once."""
    return session.run(_control(session, runner, "restart", timeout, reason))


@command("delete")
@click.argument("runner")
@click.option("--force", is_flag=True, help="Cancel its jobs instead of refusing.")
def delete(session: Session, runner: str, *, force: bool) -> int:
    """Forget a runner."""
    return session.run(_delete(session, runner, force=force))


@command("logs")
@click.argument("runner")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, metavar="N")
@click.option("--level", type=click.Choice(LEVELS), help="Only entries of this level.")
def logs(session: Session, runner: str, *, follow: bool, limit: int, level: str | None) -> int:
    """Print a runner's feed: what happened to it, and what the jobs wrote that were submitted to it."""
    return session.run(_logs(session, runner, follow=follow, limit=limit, level=level))


@command("top")
def top(session: Session) -> int:
    """Show the load of all runners, live on a terminal, once elsewhere."""
    return session.run(_top(session))


for each in (list_command, show, start, drain, stop, restart, delete, logs, top):
    command_line.add_command(each)


@command_line.result_callback()
@click.pass_context
def _without_command(context: click.Context, _result: object, /, **_given: object) -> None:
    if context.invoked_subcommand is None:
        context.exit(context.obj.run(_list(context.obj)))


async def _list(session: Session) -> int:
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
                _state(runner),
                str(runner.slots),
                runner.version or "-",
                ",".join(f"{key}={value}" for key, value in sorted(runner.labels.items())) or "-",
            )
            for runner in found
        ],
    )
    return 0


def _state(runner: Runner) -> str:
    from runner.v1.runner_pb2 import Runner as Message

    word = Message.State.Name(runner.state).removeprefix("STATE_").lower()
    # One that was told to stop is not missed.
    return word if runner.online or runner.hosted or word != "active" else "offline"


def id_of(known: Iterable[Runner], name: str) -> str:
    """The id of the runner with this id or name. Raises `CommandLineError` when none or several have it."""
    from runner_client.cli.report import FAILED, CommandLineError

    found = [one.runner_id for one in known if name in (one.runner_id, one.name)]
    if len(found) != 1:
        what = f"{len(found)} runners are" if found else "no runner is"
        raise CommandLineError(f"{what} called {name}", "`runner runners` lists them; give one id", code=FAILED)
    return found[0]


async def _find(client: AsyncClient, name: str) -> str:
    return id_of(await client.list_runners(), name)


async def _show(session: Session, name: str, *, check: bool) -> int:
    from runner.v1.runner_pb2 import Runner, RunnerHealth
    from runner_client.cli.output import as_json, print_json
    from runner_client.cli.table import print_table

    async with session.client() as client:
        runner_id = await _find(client, name)
        runner = await client.get_runner(runner_id)
        status = await client.runners.status(runner_id)
        health = await client.runners.check(runner_id) if check else status.health
    if session.json:
        print_json({"runner": as_json(runner), "health": as_json(health)})
        return 0
    load, past = runner.load, runner.statistics
    rows = [
        ("id", runner.runner_id),
        ("name", runner.name),
        ("kind", Runner.Kind.Name(runner.kind).removeprefix("KIND_").lower()),
        ("state", _state(runner)),
        ("health", RunnerHealth.Status.Name(health.status).removeprefix("STATUS_").lower()),
        *(
            (f"  {name}", "pass" if one.passed else f"fail: {one.message}")
            for name, one in sorted(health.checks.items())
        ),
        ("jobs", f"{runner.active_jobs} of {runner.slots} running, {runner.queued_jobs} waiting for it"),
        ("load", f"cpu {load.cpu_percent:.1f} %, memory {load.memory_percent:.1f} %, disk {load.disk_percent:.1f} %"),
        ("past", f"{past.succeeded_jobs} succeeded, {past.failed_jobs} failed, up {past.uptime_percent:.1f} %"),
        ("tags", ",".join(runner.tags) or "-"),
        ("labels", ",".join(f"{key}={value}" for key, value in sorted(runner.labels.items())) or "-"),
        ("version", runner.version or "-"),
    ]
    print_table(("WHAT", "VALUE"), rows)
    return 0


async def _control(session: Session, name: str, verb: str, timeout: float | None, reason: str) -> int:
    from runner_client.cli.output import as_json, print_json, print_line

    async with session.client() as client:
        runner_id = await _find(client, name)
        if verb == "start":
            runner = await client.start_runner(runner_id)
        elif verb == "drain":
            runner = await client.drain_runner(runner_id, reason=reason)
        elif verb == "stop":
            runner = await client.runners.stop(runner_id, timeout=timeout, reason=reason)
        else:
            runner = await client.runners.restart(runner_id, timeout=timeout, reason=reason)
    if session.json:
        print_json(as_json(runner))
    else:
        print_line(f"{runner.runner_id}  {_state(runner)}")
    return 0


async def _delete(session: Session, name: str, *, force: bool) -> int:
    from runner_client.cli.output import print_json, print_line

    async with session.client() as client:
        runner_id = await _find(client, name)
        await client.runners.delete(runner_id, force=force)
    if session.json:
        print_json({"runnerId": runner_id})
    else:
        print_line(runner_id)
    return 0


async def _logs(session: Session, name: str, *, follow: bool, limit: int, level: str | None) -> int:
    from runner.v1.runner_pb2 import RunnerLogEntry

    wanted = RunnerLogEntry.Level.Value(f"LEVEL_{level.upper()}") if level else RunnerLogEntry.LEVEL_UNSPECIFIED
    async with session.client() as client:
        runner_id = await _find(client, name)
        if follow:
            async for entry in client.runners.follow(runner_id, level=wanted, limit=limit):
                _print_entry(session, entry)
        else:
            for entry in await client.runners.logs(runner_id, level=wanted, limit=limit):
                _print_entry(session, entry)
    return 0


def _print_entry(session: Session, entry: RunnerLogEntry) -> None:
    from runner.v1.runner_pb2 import RunnerLogEntry as Message
    from runner_client.cli.output import as_json, print_json, print_line

    if session.json:
        print_json(as_json(entry))
        return
    level = Message.Level.Name(entry.level).removeprefix("LEVEL_").lower()
    at = entry.time.ToDatetime().isoformat(sep=" ", timespec="milliseconds")
    about = f"  [{entry.job_id}{f' {entry.step}' if entry.step else ''}]" if entry.job_id else ""
    print_line(f"{at}  {level:<5}  {entry.message}{about}")


TOP_HEADS = ("NAME", "STATE", "JOBS", "WAITING", "CPU %", "MEMORY %", "DISK %", "RUNNER ID")


def _top_rows(runners: list[Runner]) -> list[tuple[str, ...]]:
    busiest = sorted(runners, key=lambda one: (-one.active_jobs, -one.load.cpu_percent, one.name))
    return [
        (
            one.name,
            _state(one),
            f"{one.active_jobs}/{one.slots}",
            str(one.queued_jobs),
            f"{one.load.cpu_percent:.1f}",
            f"{one.load.memory_percent:.1f}",
            f"{one.load.disk_percent:.1f}",
            one.runner_id,
        )
        for one in busiest
    ]


async def _top(session: Session) -> int:
    import asyncio

    from runner_client.cli.output import as_json, print_json
    from runner_client.cli.table import on_terminal, print_table, rich_table

    async with session.client() as client:
        runners = await client.list_runners()
        if session.json:
            print_json([as_json(runner) for runner in runners])
            return 0
        if not on_terminal():
            print_table(TOP_HEADS, _top_rows(runners))
            return 0
        from rich.live import Live

        with Live(screen=True, auto_refresh=False) as live:
            while True:
                live.update(rich_table(TOP_HEADS, _top_rows(runners)), refresh=True)
                await asyncio.sleep(REDRAW_SECONDS)
                runners = await client.list_runners()
