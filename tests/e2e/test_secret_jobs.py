"""Secrets from the command line to the job and never further."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
from e2e_command_line import CommandLine
from e2e_server import ServerProcess

CommandLines = Callable[[ServerProcess], CommandLine]
VALUE = "correct-horse-battery-staple"


async def test_a_job_gets_it_and_nothing_keeps_or_shows_it(
    server: ServerProcess, command_line: CommandLines, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    runner = command_line(server)
    (tmp_path / "value").write_text(VALUE + "\n")
    with (tmp_path / "value").open() as value:
        assert await runner("secrets", "set", "deploy", stdin=value) == (0, "", "")
    text = 'echo "[$TOKEN]"; test "$TOKEN" = correct-horse-battery-"staple" && echo same; ps -o args= -p $$'
    code, out, err = await runner("exec", "--secret", "TOKEN=deploy", "--", "sh", "-c", text)
    assert (code, err) == (0, "")
    assert out.startswith("[***]\nsame\n")
    assert "deploy" in (await runner("secrets", "list"))[1]
    listed = (await http.get("/api/v2/secrets")).json()
    assert [secret["name"] for secret in listed["secrets"]] == ["deploy"]
    jobs = (await http.get("/api/v2/jobs")).text
    assert '"TOKEN":"deploy"' in jobs.replace(" ", "")
    assert VALUE not in jobs
    found = subprocess.run(["grep", "-rlF", VALUE, str(server.data_dir)], capture_output=True, text=True, check=False)
    assert found.stdout == ""
    assert VALUE not in server.errors
    assert (await runner("secrets", "rm", "deploy"))[0] == 0
    code, _, err = await runner("exec", "--secret", "TOKEN=deploy", "--", "true")
    assert code == 125
    assert "there is no secret deploy" in err


async def test_a_short_one_is_refused_aloud(server: ServerProcess, command_line: CommandLines, tmp_path: Path) -> None:
    (tmp_path / "value").write_text("1234")
    with (tmp_path / "value").open() as value:
        code, _, err = await command_line(server)("secrets", "set", "pin", stdin=value)
    assert code == 1
    assert "shorter than 6 bytes" in err
