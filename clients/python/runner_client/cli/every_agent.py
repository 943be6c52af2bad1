"""`runner agents list`: managed agents and those that report, in one list, live if wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from runner_client.cli.session import Session

if TYPE_CHECKING:
    from runner.v1.agent_pb2 import Agent
    from runner.v1.agent_report_pb2 import ReportedAgent
    from runner_client.client import AsyncClient

HEADS = ("AGENT ID", "KIND", "NAME", "STATUS", "FROM", "USE", "MESSAGE")


async def list_all(session: Session) -> int:
    """Both kinds, the managed first."""
    from runner_client.cli.output import print_json
    from runner_client.cli.table import print_table

    async with session.client() as client:
        managed = await client.agents.list_all()
        reported = await client.agent_reports.list_all()
    if session.json:
        print_json([*map(_managed_json, managed), *map(_reported_json, reported)])
    else:
        print_table(HEADS, [*map(_managed_row, managed), *map(_reported_row, reported)])
    return 0


async def watch_all(session: Session) -> int:
    """A line for each change, or a live table on a terminal, until Ctrl-C."""
    from runner_client.cli.output import print_json, print_line
    from runner_client.cli.table import on_terminal, rich_table

    rows: dict[tuple[str, str], tuple[str, ...]] = {}

    def show(agent_id: str, row: tuple[str, ...] | None, as_json: Mapping[str, Any]) -> None:
        if session.json:
            print_json(as_json)
        else:
            print_line("  ".join(row) if row else f"{agent_id}  gone")

    async with session.client() as client:
        if session.json or not on_terminal():
            await _follow(client, show)
            return 0
        from rich.live import Live

        with Live(rich_table(HEADS, []), refresh_per_second=8) as live:

            def redraw(agent_id: str, row: tuple[str, ...] | None, as_json: Mapping[str, Any]) -> None:
                if row is None:
                    rows.pop(("managed", agent_id), None)
                else:
                    rows[row[1], agent_id] = row
                live.update(rich_table(HEADS, [rows[key] for key in sorted(rows)]))

            await _follow(client, redraw)
    return 0


async def _follow(client: AsyncClient, show: Any) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_follow_managed(client, show))
        group.create_task(_follow_reported(client, show))


async def _follow_managed(client: AsyncClient, show: Any) -> None:
    async for message in client.agents.watch():
        for agent in message.agents:
            show(agent.agent_id, _managed_row(agent), _managed_json(agent))
        for agent_id in message.gone_agent_ids:
            show(agent_id, None, {"goneAgentId": agent_id})


async def _follow_reported(client: AsyncClient, show: Any) -> None:
    known = await client.agent_reports.list_all()
    for agent in known:
        show(agent.agent_id, _reported_row(agent), _reported_json(agent))
    after = max((agent.latest.sequence for agent in known), default=None)
    async for event in client.agent_reports.events(after=after):
        agent = await client.agent_reports.get(event.report.agent_id or event.expired_session.agent_id)
        show(agent.agent_id, _reported_row(agent), _reported_json(agent))


def _managed_json(agent: Agent) -> dict[str, Any]:
    from runner_client.cli.output import as_json

    return {"kind": "managed", **as_json(agent)}


def _reported_json(agent: ReportedAgent) -> dict[str, Any]:
    from runner_client.cli.output import as_json

    return {"kind": "reported", **as_json(agent)}


def _managed_row(agent: Agent) -> tuple[str, ...]:
    status = type(agent).Status.Name(agent.status).removeprefix("STATUS_").lower()
    used = f"{agent.usage.requests} requests, {agent.usage.tokens} tokens, {memory_of(agent)}"
    return (agent.agent_id, "managed", agent.name, status, agent.image, used, agent.problem or "-")


def _reported_row(agent: ReportedAgent) -> tuple[str, ...]:
    from runner_client.cli.reported import one_line, status_word

    latest = agent.latest
    return (
        agent.agent_id,
        "reported",
        agent.name or "-",
        status_word(latest),
        agent.source or "-",
        f"{agent.active_session_count} of {agent.session_count} sessions alive",
        one_line(latest.message),
    )


def memory_of(agent: Agent) -> str:
    """What its processes hold, in MiB; a dash where nothing was measured."""
    return f"{agent.usage.memory_bytes / (1 << 20):.0f} MiB" if agent.usage.memory_bytes else "-"
