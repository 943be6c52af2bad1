"""`runner agents reported`: agents that run elsewhere and report how they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runner_client.cli.session import Session, command

if TYPE_CHECKING:
    from runner.v1.agent_report_pb2 import AgentReport, ReportedAgent, ReportSession
    from runner_client.client import AsyncClient

AGENT_HEADS = ("AGENT ID", "NAME", "SOURCE", "STATUS", "SESSIONS", "LAST SEEN", "MESSAGE")
SESSION_HEADS = ("TOPIC", "STATUS", "STATE", "TTL", "REPORTS", "UPDATED", "MESSAGE")
STATUSES = ("running", "success", "failed", "pending")


@command("reported")
@click.argument("agent_id", required=False)
@click.option("-w", "--watch", is_flag=True, help="Go on and show reports as they come, until Ctrl-C.")
@click.option("--status", type=click.Choice(STATUSES), help="Only agents whose latest report says so.")
@click.option("--search", default="", metavar="TEXT", help="Only agents with this in their id or name.")
def reported(session: Session, agent_id: str | None, watch: bool, status: str | None, search: str) -> int:
    """List agents that report (KubeAgents), or the sessions of one."""
    if watch:
        return session.run(watch_reported(session, agent_id or ""))
    return session.run(_show(session, agent_id) if agent_id else list_reported(session, status, search))


async def list_reported(session: Session, status: str | None = None, search: str = "") -> int:
    """Prints the agents that report, in order of registration."""
    from runner.v1.agent_report_pb2 import AgentReport
    from runner_client.cli.output import as_json, print_json
    from runner_client.cli.table import print_table

    wanted = AgentReport.Status.Value(f"STATUS_{status.upper()}") if status else None
    async with session.client() as client:
        agents = await client.agent_reports.list_all(status=wanted, search=search)
    if session.json:
        print_json([as_json(agent) for agent in agents])
    else:
        print_table(AGENT_HEADS, [_agent_row(agent) for agent in agents])
    return 0


async def _show(session: Session, agent_id: str) -> int:
    from runner_client.cli.output import as_json, print_json
    from runner_client.cli.table import print_table

    async with session.client() as client:
        sessions = await client.agent_reports.sessions(agent_id)
    if session.json:
        print_json([as_json(one) for one in sessions])
    else:
        print_table(SESSION_HEADS, [_session_row(one) for one in sessions])
    return 0


async def watch_reported(session: Session, agent_id: str = "") -> int:
    """A line for each report and each session that expires, or a live table on a terminal, until Ctrl-C."""
    from runner_client.cli.output import as_json, print_json, print_line
    from runner_client.cli.table import on_terminal

    async with session.client() as client:
        if on_terminal() and not session.json:
            await _live(client, agent_id)
        async for event in client.agent_reports.events(agent_id):
            expired = event.HasField("expired_session")
            if session.json:
                print_json({"expiredSession": as_json(event.expired_session)} if expired else as_json(event.report))
            else:
                print_line("  ".join(_expired_row(event.expired_session) if expired else _report_row(event.report)))
    return 0


async def _live(client: AsyncClient, agent_id: str) -> None:
    """The table of agents, a row anew with each report and each session that expires."""
    from rich.live import Live

    from runner_client.cli.table import rich_table

    known = {
        agent.agent_id: agent
        for agent in await client.agent_reports.list_all()
        if not agent_id or agent.agent_id == agent_id
    }
    after = max((agent.latest.sequence for agent in known.values()), default=None)
    with Live(refresh_per_second=8) as live:
        live.update(rich_table(AGENT_HEADS, [_agent_row(agent) for agent in known.values()]))
        async for event in client.agent_reports.events(agent_id, after=after):
            changed = event.report.agent_id or event.expired_session.agent_id
            known[changed] = await client.agent_reports.get(changed)
            live.update(rich_table(AGENT_HEADS, [_agent_row(agent) for agent in known.values()]))


def status_word(report: AgentReport) -> str:
    return type(report).Status.Name(report.status).removeprefix("STATUS_").lower()


def _agent_row(agent: ReportedAgent) -> tuple[str, ...]:
    return (
        agent.agent_id,
        agent.name or "-",
        agent.source or "-",
        status_word(agent.latest),
        f"{agent.active_session_count}/{agent.session_count}",
        _time(agent.last_seen_time.ToJsonString()),
        one_line(agent.latest.message),
    )


def _session_row(session: ReportSession) -> tuple[str, ...]:
    return (
        one_line(session.topic),
        status_word(session.current),
        "expired" if session.HasField("expire_time") else "alive",
        f"{session.ttl_minutes}m",
        str(session.report_count),
        _time(session.update_time.ToJsonString()),
        one_line(session.current.message),
    )


def _report_row(report: AgentReport) -> tuple[str, ...]:
    return (
        report.report_time.ToJsonString(),
        report.agent_id,
        f"{status_word(report):7}",
        one_line(report.topic),
        one_line(report.message),
    )


def _expired_row(session: ReportSession) -> tuple[str, ...]:
    return (session.expire_time.ToJsonString(), session.agent_id, "expired", one_line(session.topic), "-")


def _time(text: str) -> str:
    """To the second."""
    return text.partition(".")[0].removesuffix("Z") + "Z"


def one_line(text: str) -> str:
    """On one line, whatever an agent put in; ``-`` for nothing."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split()) or "-"
