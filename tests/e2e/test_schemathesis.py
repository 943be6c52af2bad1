"""Thousands of requests made from the OpenAPI document, good ones and bad ones: none of them is answered with a 5xx."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from e2e_server import ServerProcess, environment_of

PROGRAM = Path(sys.executable).parent / "schemathesis"
# What streams or waits until somebody ends it: an answer that never ends looks like a server that does not answer.
LEFT_OUT = ":wait|:watch|:exec|logs:stream|agents/[^/]+/(events|logs|chat)$|api/runners/.*logs$|/ws$"
PATHS_LEFT_OUT = [
    "/api/runners/ws",
    "/api/runners/{runner_id}/jobs/{job_id}/logs",
    "/api/runners/{runner_id}/logs",
    "/api/v2/agent-reports:watch",
    "/api/v2/agents/{agent_id}/chat",
    "/api/v2/agents/{agent_id}/events",
    "/api/v2/agents/{agent_id}/logs",
    "/api/v2/agents:watch",
    "/api/v2/commands:exec",
    "/api/v2/jobs/{job_id}/logs:stream",
    "/api/v2/jobs/{job_id}:wait",
    "/api/v2/jobs:watch",
    "/api/v2/runners/{runner_id}/logs:stream",
    "/api/v2/runners:watch",
    "/v1/agents/{id}/chat",
    "/v1/agents/{id}/events",
    "/v1/agents/{id}/logs",
]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_request_that_the_document_allows_or_forbids_makes_the_server_fail(own_server: ServerProcess) -> None:
    if not PROGRAM.exists():
        pytest.skip("schemathesis is not installed")
    # What is asked for must never run.
    own_server.settings["executor"]["local_runner"] = False
    own_server.start()
    paths = httpx.get(f"{own_server.http}/openapi.json", trust_env=False).json()["paths"]
    assert sorted(path for path in paths if re.search(LEFT_OUT, path)) == PATHS_LEFT_OUT, "and all others are asked"
    command = [str(PROGRAM), "run", f"{own_server.http}/openapi.json"]
    command += ["--checks", "not_a_server_error", "--phases", "coverage,fuzzing", "--max-examples", "10"]
    command += ["--exclude-path-regex", LEFT_OUT, "--request-timeout", "10", "--suppress-health-check", "all"]
    command += ["--seed", "1", "--no-color"]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment_of(), timeout=540, check=False)
    assert ended.returncode == 0, ended.stdout[-8000:]
    assert "Coverage" in ended.stdout
