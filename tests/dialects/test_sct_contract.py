"""What SCT agent's README documents is served, and no more; its lines run in bash as they stand."""

from __future__ import annotations

import json

import pytest
from google.api import annotations_pb2
from sct_server import CONTRACT, ROOT, Sct, SctServer, bash

from runner.dialects.common.v1 import health_service_pb2
from runner.dialects.sct.v1 import command_service_pb2
from runner.gateway.v1 import options_pb2

README = ROOT.parent / "shared" / "seeds" / "sct-agent.md"


def documented(line: str, server: SctServer) -> str:
    assert line.startswith("curl ") and CONTRACT["curl_origin"] in line
    return "curl -m 10 -sS " + line.removeprefix("curl ").replace(CONTRACT["curl_origin"], server.url)


def test_the_documented_endpoints_are_served_and_none_is_extra() -> None:
    served = set()
    for file in (command_service_pb2, health_service_pb2):
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                rule = method.GetOptions().Extensions[annotations_pb2.http]
                verb = rule.WhichOneof("pattern")
                access = method.GetOptions().Extensions[options_pb2.method].access
                auth = "bearer" if access == options_pb2.ACCESS_REQUIRED else "none"
                served.add((verb.upper(), getattr(rule, verb).replace("{job_id}", "{id}"), auth))
    assert served == {(each["method"], each["path"], each["auth"]) for each in CONTRACT["endpoints"]}


def test_the_readmes_first_line_runs_a_command(server: SctServer, sct: Sct) -> None:
    answer = json.loads(bash(documented(CONTRACT["curl"]["execute_command"], server)))
    assert set(answer) == {"job_id", "status", "created_at", "command", "message"}
    assert answer["status"] == "queued" and answer["command"] == "echo"
    assert answer["message"] == "Command queued successfully"
    job = sct.ended(answer["job_id"])
    assert (job["status"], job["exit_code"], job["stdout"]) == ("completed", 0, "Hello World\n")


def test_the_readmes_second_line_asks_for_the_id_job_id(server: SctServer) -> None:
    answer = json.loads(bash(documented(CONTRACT["curl"]["get_command"], server)))
    assert answer == {"error": "Job not found", "message": "Job with ID JOB_ID not found"}


def test_the_readmes_second_line_with_an_id_shows_the_job(server: SctServer, sct: Sct) -> None:
    job_id = sct.submit("echo", "shown")
    sct.ended(job_id)
    line = documented(CONTRACT["curl"]["get_command"], server).replace("{JOB_ID}", job_id)
    assert json.loads(bash(line))["stdout"] == "shown\n"


def test_the_lines_are_those_of_the_readme() -> None:
    if not README.exists():
        pytest.skip("the documents are not beside this checkout")
    text = README.read_text()
    assert all(line in text for line in CONTRACT["curl"].values())
    assert CONTRACT["config_of_the_readme"].strip() in text
