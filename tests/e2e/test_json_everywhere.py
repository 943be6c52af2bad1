"""`--json` behind every command: what it prints is JSON, whole or a value a line, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from e2e_command_line import CommandLine
from e2e_server import ServerProcess

from runner_client.cli.app import COMMANDS, app

pytestmark = pytest.mark.slow  # forty commands, each a process

PRINTS_NONE = {
    "completion": "a script for the shell",
}
"""Commands that print something else, and what."""
CALLS = """
exec -- echo hello
submit {job_file} -> job=jobId
wait {job} -> runner=runnerId
show {job}
logs {job}
attach {job}
retry {job}
ps -a
submit {long_file} -> sleeper=jobId
cancel {sleeper}
cp {file} artifact:
secrets set one --file {file}
secrets list
secrets rm one
images list
images show echo:latest
images push mine:v1 --from echo:latest
images search mine
images pull mine:v1
agents run echo:latest -> agent=agentId
agents list
agents show {agent}
agents chat {agent} hello
agents logs {agent}
agents reported {reported}
agents rm {agent}
images rm mine:v1
keys create ci --role viewer -> key=apiKey.keyId
keys list
keys revoke {key}
whoami
audit
queues
runners list
runners show {runner}
runners top
runners logs {runner}
runners delete {other}
runners drain {runner}
runners start {runner}
runners stop {runner}
runners start {runner}
runners restart {runner}
drain {runner}
"""
"""Each command as it is called on one server, in this order, and what the next ones need of its answer."""


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context) if path else COMMANDS:
            yield from leaves(command.get_command(context, name), (*path, name))
    else:
        yield " ".join(path)


def test_the_table_has_every_command() -> None:
    commands = sorted(leaves(app))
    lines = [line for line in CALLS.splitlines() if line]
    asked = {max((name for name in commands if f"{line} ".startswith(f"{name} ")), default=line) for line in lines}
    assert sorted(asked) == [name for name in commands if name not in PRINTS_NONE]


def values(text: str) -> list[Any]:
    """What was printed: one value, or one a line."""
    try:
        return [json.loads(text)]
    except ValueError:
        return [json.loads(line) for line in text.splitlines()]


async def test_every_command_prints_json_when_asked(
    server: ServerProcess, http: httpx.AsyncClient, command_line: Callable[[ServerProcess], CommandLine], tmp_path: Path
) -> None:
    runner = command_line(server)
    facts = {name: str(tmp_path / name) for name in ("job_file", "long_file", "file")}
    Path(facts["job_file"]).write_text('steps: ["true"]')
    Path(facts["long_file"]).write_text('steps: ["sleep 1000"]')
    Path(facts["file"]).write_text("a value that nobody guesses")
    reply = await http.post("/api/v2/runners", json={"name": "other", "slots": 1})
    facts["other"] = reply.raise_for_status().json()["runner"]["runnerId"]
    report = {"agentId": "reported", "agentName": "r", "agentSource": "s", "topic": "t", "status": "STATUS_RUNNING"}
    (await http.post("/api/v2/agent-reports", json=report)).raise_for_status()
    facts["reported"] = "reported"
    for line in filter(None, CALLS.splitlines()):
        call, _, learns = line.partition(" -> ")
        code, out, err = await runner("--json", *(word.format(**facts) for word in call.split()))
        assert (code, err) == (0, ""), f"{call}: {err}"
        told = values(out)
        assert told, f"{call} says nothing"
        name, _, path = learns.partition("=")
        value = told[0]
        for step in filter(None, path.split(".")):
            value = value[int(step)] if step.isdecimal() else value[step]
        if name:
            facts[name] = value
