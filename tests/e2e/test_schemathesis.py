"""Thousands of requests made from the OpenAPI document, good ones and bad ones: none of them is answered with a 5xx."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from e2e_server import ServerProcess, environment_of

PROGRAM = Path(sys.executable).parent / "schemathesis"
# What streams or waits until somebody ends it, and what makes the server call others.
LEFT_OUT = ":wait|:watch|:exec|events|logs|stream|/chat|/ws|follow"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_request_that_the_document_allows_or_forbids_makes_the_server_fail(own_server: ServerProcess) -> None:
    if not PROGRAM.exists():
        pytest.skip("schemathesis is not installed")
    # What is asked for must never run.
    own_server.settings["executor"]["local_runner"] = False
    own_server.start()
    command = [str(PROGRAM), "run", f"{own_server.http}/openapi.json"]
    command += ["--checks", "not_a_server_error", "--phases", "coverage,fuzzing", "--max-examples", "10"]
    command += ["--exclude-path-regex", LEFT_OUT, "--request-timeout", "10", "--suppress-health-check", "all"]
    command += ["--seed", "1", "--no-color"]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment_of(), timeout=540, check=False)
    assert ended.returncode == 0, ended.stdout[-8000:]
    assert "Coverage" in ended.stdout
