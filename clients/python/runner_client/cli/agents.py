"""`runner agents`: managed agents."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from runner_client.cli.report import USAGE, CommandLineError
from runner_client.cli.reported import reported
from runner_client.cli.session import Session, command, group
from runner_client.cli.values import pairs, secret_pairs

if TYPE_CHECKING:
    from runner.v1.agent_pb2 import Agent

HEADS = ("AGENT ID", "NAME", "STATUS", "IMAGE", "MODEL", "REQUESTS", "TOKENS", "MEMORY", "PROBLEM")

command_line = group(
    "agents", help="Managed agents: made from images, run on runners, talked with; and those that report."
)


@command("list")
@click.option("-w", "--watch", is_flag=True, help="Go on and show changes until Ctrl-C.")
@click.option("-k", "--kind", type=click.Choice(["managed", "reported"]), help="Only this kind, with all of its facts.")
@click.option("-a", "--all", "every", is_flag=True, help="Both kinds, which is the default.")
def list_agents(session: Session, watch: bool, kind: str | None, every: bool) -> int:
    """List the agents: managed ones, newest first, then those that run elsewhere and report."""
    if kind is None or every:
        from runner_client.cli.every_agent import list_all, watch_all

        return session.run(watch_all(session) if watch else list_all(session))
    if kind == "reported":
        from runner_client.cli.reported import list_reported, watch_reported

        return session.run(watch_reported(session) if watch else list_reported(session))
    return session.run(_watch(session) if watch else _list(session))


@command("run")
@click.argument("image")
@click.option("--name", default="", help="For people.")
@click.option("--model", default="", help="The language model that it is to use.")
@click.option("-e", "--env", "environment", multiple=True, callback=pairs, metavar="KEY=VALUE", help="Set a variable.")
@click.option(
    "--secret",
    multiple=True,
    callback=secret_pairs,
    metavar="VAR[=NAME]",
    help="Set a variable to a secret of the server, repeatable.",
)
@click.option("-p", "--parameters", default="", metavar="JSON", help="Laid over the image's parameters.")
@click.option("--label", "labels", multiple=True, callback=pairs, metavar="KEY=VALUE", help="Need such a runner.")
@click.option("--chat", is_flag=True, help="Talk with it at once.")
def run(
    session: Session,
    image: str,
    name: str,
    model: str,
    environment: dict[str, str],
    secret: dict[str, str],
    parameters: str,
    labels: dict[str, str],
    chat: bool,
) -> int:
    """Make an agent and start it; print its id. IMAGE: NAME, NAME:TAG, an id or the start of one."""
    if parameters and not _is_object(parameters):
        raise CommandLineError("--parameters is no JSON object", """such as '{"temperature": 0.2}'""", code=USAGE)
    options: dict[str, object] = {
        "name": name,
        "model": model,
        "parameters": parameters,
        "environment": environment,
        "secrets": secret,
        "required_labels": labels,
    }
    return session.run(_run(session, image, options, chat))


@command("show")
@click.argument("agent_id")
def show(session: Session, agent_id: str) -> int:
    """Show an agent, as JSON."""
    return session.run(_show(session, agent_id))


@command("rm")
@click.argument("agent_ids", nargs=-1, required=True, metavar="AGENT_ID…")
def remove(session: Session, agent_ids: tuple[str, ...]) -> int:
    """Stop agents, their whole process trees, and forget them."""
    return session.run(_remove(session, agent_ids))


@command("logs")
@click.argument("agent_id")
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most so many.")
def logs(session: Session, agent_id: str, limit: int) -> int:
    """Print the last lines of an agent's log; `runner logs` has its whole output, byte for byte."""
    return session.run(_logs(session, agent_id, limit))


@command("chat")
@click.argument("agent_id")
@click.argument("message", required=False)
def chat(session: Session, agent_id: str, message: str | None) -> int:
    """Talk with an agent: say MESSAGE, or each line of standard input, and print the answers as they come."""
    from runner_client.cli.chatting import converse

    return session.run(converse(session, agent_id, message))


for each in (list_agents, run, show, remove, logs, chat, reported):
    command_line.add_command(each)


async def _list(session: Session) -> int:
    from runner_client.cli.output import as_json, print_json
    from runner_client.cli.table import print_table

    async with session.client() as client:
        agents = await client.agents.list_all()
    if session.json:
        print_json([as_json(agent) for agent in agents])
    else:
        print_table(HEADS, _rows(agents))
    return 0


async def _watch(session: Session) -> int:
    from runner_client.cli.output import as_json, print_json, print_line
    from runner_client.cli.table import on_terminal, rich_table

    known: dict[str, Agent] = {}
    async with session.client() as client:
        if session.json or not on_terminal():
            async for message in client.agents.watch():
                for agent in message.agents:
                    if session.json:
                        print_json(as_json(agent))
                    else:
                        print_line("  ".join(_row(agent)))
                for agent_id in message.gone_agent_ids:
                    if session.json:
                        print_json({"goneAgentId": agent_id})
                    else:
                        print_line(f"{agent_id}  gone")
            return 0
        from rich.live import Live

        with Live(rich_table(HEADS, []), refresh_per_second=8) as live:
            async for message in client.agents.watch():
                known.update({agent.agent_id: agent for agent in message.agents})
                for agent_id in message.gone_agent_ids:
                    known.pop(agent_id, None)
                live.update(rich_table(HEADS, _rows(sorted(known.values(), key=lambda each: each.agent_id)[::-1])))
    return 0


async def _run(session: Session, image: str, options: dict[str, object], chat: bool) -> int:
    from runner.v1.agent_pb2 import Agent
    from runner_client.cli.chatting import converse
    from runner_client.cli.output import as_json, print_json, print_line
    from runner_client.cli.report import complain

    async with session.client() as client:
        agent = await client.agents.create(image, **options)  # type: ignore[arg-type]
    if session.json:
        print_json(as_json(agent))
    elif not chat:
        print_line(agent.agent_id)
    if agent.status == Agent.STATUS_ERROR:
        complain(f"the agent cannot run: {agent.problem}", f"runner agents logs {agent.agent_id}")
        return 1
    return await converse(session, agent.agent_id, None) if chat else 0


async def _show(session: Session, agent_id: str) -> int:
    from runner_client.cli.output import as_json, print_json

    async with session.client() as client:
        print_json(as_json(await client.agents.get(agent_id)))
    return 0


async def _remove(session: Session, agent_ids: Iterable[str]) -> int:
    from runner_client.cli.output import as_json, print_json, print_line

    async with session.client() as client:
        for agent_id in agent_ids:
            agent = await client.agents.delete(agent_id)
            if session.json:
                print_json(as_json(agent))
            else:
                print_line(agent.agent_id)
    return 0


async def _logs(session: Session, agent_id: str, limit: int) -> int:
    from runner_client.cli.output import as_json, print_json, print_line

    async with session.client() as client:
        for entry in await client.agents.logs(agent_id, limit=limit):
            if session.json:
                print_json(as_json(entry))
            else:
                print_line(f"{entry.time.ToJsonString()} {entry.level:7} {entry.message}")
    return 0


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _rows(agents: Iterable[Agent]) -> list[tuple[str, ...]]:
    return [_row(agent) for agent in agents]


def _row(agent: Agent) -> tuple[str, ...]:
    from runner_client.cli.every_agent import memory_of

    return (
        agent.agent_id,
        agent.name,
        type(agent).Status.Name(agent.status).removeprefix("STATUS_").lower(),
        agent.image,
        agent.model,
        str(agent.usage.requests),
        str(agent.usage.tokens),
        memory_of(agent),
        agent.problem or "-",
    )
