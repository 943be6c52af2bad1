"""`runner keys`, `runner whoami` and `runner audit` against a real server in this process."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from command_line import CommandLine

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "access"))

from access_app import Served, serve


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serve(tmp_path) as served:
        yield served


async def test_keys_from_making_to_revoking(served: Served, runner: CommandLine) -> None:
    at = ("--server", served.grpc)
    assert (await runner(*at, "whoami")).out == "(no credential) admin\n"
    key = (await runner(*at, "keys", "create", "ci", "--role", "viewer", "--expires", "1h")).out.strip()
    assert (await runner(*at, "--token", key, "whoami")).out == "ci viewer\n"
    lines = [line.split() for line in (await runner(*at, "keys", "list")).out.splitlines()]
    key_id = lines[1][0]
    assert lines[1][1:4] == ["ci", "viewer", "until"]
    assert (await runner(*at, "keys", "revoke", key_id)).out == f"{key_id}\n"
    (listed,) = json.loads((await runner(*at, "keys", "list", "--json")).out)
    assert listed["keyId"] == key_id and "revokeTime" in listed
    refused = await runner(*at, "--token", key, "whoami")
    assert refused.code == 1 and refused.err.startswith("runner: ")
    assert (await runner(*at, "keys", "revoke", "nothing")).code == 1
    rows = [line.split() for line in (await runner(*at, "audit", "-n", "9")).out.splitlines()]
    assert [(row[4], row[5], row[6].rpartition("/")[2]) for row in rows[1:]] == [
        ("API_KEY_NOT_FOUND", "nothing", "RevokeApiKey"),
        ("CREDENTIALS_INVALID", "-", "WhoAmI"),
        ("OK", key_id, "RevokeApiKey"),
        ("OK", key_id, "CreateApiKey"),
    ]
