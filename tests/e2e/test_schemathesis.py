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
STREAMS = ":wait|:watch|:exec|logs:stream|agents/[^/]+/(events|logs|chat)$|api/runners/.*logs$|/ws$"
STREAMING_PATHS = [
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


# What streams is let go after a moment: its answer is 504 when it had nothing to say by then.
MOMENT = "X-Request-Timeout: 0.05"
LET_GO = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 504]
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_request_that_the_document_allows_or_forbids_makes_the_server_fail(
    own_server: ServerProcess, tmp_path: Path
) -> None:
    if not PROGRAM.exists():
        pytest.skip("schemathesis is not installed")
    # What is asked for must never run.
    own_server.settings["executor"]["local_runner"] = False
    own_server.start()
    paths = httpx.get(f"{own_server.http}/openapi.json", timeout=60, trust_env=False).json()["paths"]
    assert sorted(path for path in paths if re.search(STREAMS, path)) == STREAMING_PATHS, (
        "and all others are waited for"
    )
    ask(own_server, tmp_path, "--exclude-path-regex", STREAMS, "--max-examples", "10")
    (tmp_path / "schemathesis.toml").write_text(LET_GO)
    ask(own_server, tmp_path, "--include-path-regex", STREAMS, "--max-examples", "5", "-H", MOMENT)


def ask(server: ServerProcess, directory: Path, *which: str) -> None:
    """Runs it in a directory of its own, where it finds its settings and leaves what it remembers."""
    command = [str(PROGRAM), "run", f"{server.http}/openapi.json"]
    command += ["--checks", "not_a_server_error", "--phases", "coverage,fuzzing"]
    command += ["--request-timeout", "90", "--suppress-health-check", "all", "--seed", "1", "--no-color", *which]
    ended = subprocess.run(
        command, capture_output=True, text=True, env=environment_of(), timeout=900, check=False, cwd=directory
    )
    assert ended.returncode == 0, ended.stdout[-8000:]
    assert "Coverage" in ended.stdout
