"""Every documented endpoint of RustCI's runner API: status, members, types, fixed values and errors, from the contract;
the document's curl lines and both its SDKs as they stand."""

from __future__ import annotations

import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import chromium
from contract_shapes import check_shape
from google.api import annotations_pb2
from rustci_server import (
    CONTRACT,
    DOCUMENTED,
    ENDPOINTS,
    NEW,
    ORIGIN,
    PAGE_ORIGIN,
    RUNNERS,
    RustCi,
    add_documented_runner,
)
from sct_server import ROOT, SctServer

from runner.dialects.rustci.v1 import runner_service_pb2
from runner_service.dialects.rustci import words
from runner_service.domain.jobs import JobState
from runner_service.domain.runners import RunnerKind, RunnerState

DOCUMENT = ROOT.parent / "shared" / "seeds" / "rustci-runner-api.md"
CODES = {
    "RUNNER_NOT_FOUND",
    "RUNNER_UNAVAILABLE",
    "INVALID_REQUEST",
    "AUTHENTICATION_REQUIRED",
    "AUTHORIZATION_FAILED",
    "RATE_LIMIT_EXCEEDED",
    "INTERNAL_ERROR",
}


def test_the_documented_endpoints_are_served_and_one_extension() -> None:
    served = set()
    for method in runner_service_pb2.DESCRIPTOR.services_by_name["RunnerService"].methods:
        rule = method.GetOptions().Extensions[annotations_pb2.http]
        verb = rule.WhichOneof("pattern")
        served.add((verb.upper(), getattr(rule, verb)))
    # Of R24.
    extension = {("GET", "/api/runners/{runner_id}/jobs/{job_id}/logs")}
    assert served == {(each["method"], each["path"]) for each in CONTRACT["endpoints"]} | extension


def test_every_state_has_a_word() -> None:
    assert set(words.STATUS) == set(RunnerState)
    assert set(words.TYPES) == set(RunnerKind)
    assert set(words.JOB_STATUS) == set(JobState)


@pytest.fixture(scope="module")
def runner_id(rustci: RustCi) -> str:
    """A runner that has run a job."""
    found = rustci.register(
        name="docker-runner-1",
        type="docker",
        capabilities=["docker", "isolation"],
        tags=["production"],
        metadata={"os": "linux", "arch": "amd64", "docker_version": "24.0.0"},
        resources={"cpu_cores": 4, "memory_gb": 8, "disk_gb": 100},
    )
    rustci.ended(found, rustci.submit(found, "echo hello"))
    return found


def requests_of(name: str) -> list[Any]:
    examples = ENDPOINTS[name].get("request", {}).get("examples", [])
    return [example["body"] for example in examples] or [None]


CALLS = [
    pytest.param(each["id"], body, id=f"{each['id']}-{place}")
    for each in CONTRACT["endpoints"]
    if each.get("transport") != "websocket" and each["id"] != "rustci.delete_runner"
    for place, body in enumerate(requests_of(each["id"]))
]


@pytest.mark.parametrize(("name", "body"), CALLS)
def test_a_documented_request_gets_the_documented_answer(rustci: RustCi, runner_id: str, name: str, body: Any) -> None:
    endpoint, success = ENDPOINTS[name], ENDPOINTS[name]["success"]
    path = endpoint["path"].replace("{runner_id}", runner_id)
    reply = rustci.http.request(endpoint["method"], path, **({} if body is None else {"json": body}))
    assert reply.status_code == success["status"], reply.text
    assert reply.headers["content-type"] == "application/json"
    answer = reply.json()
    check_shape(answer, success["required"], success.get("optional"))
    for member, value in success.get("fixed", {}).items():
        assert answer[member] == value
    for member, pattern in success.get("patterns", {}).items():
        assert re.search(pattern, answer[member]), answer[member]
    if name in ("rustci.stop_runner", "rustci.restart_runner"):
        rustci.ask("POST", f"/{runner_id}/start")


def test_a_deletion_is_answered_as_documented(rustci: RustCi) -> None:
    success = ENDPOINTS["rustci.delete_runner"]["success"]
    for query in ({}, {"force": "true"}):
        answer = rustci.ask("DELETE", f"/{rustci.register()}", params=query)
        assert answer == success["example"]["body"]


JOB: dict[str, Any] = {"name": "j", "steps": [{"name": "a", "run": "true"}]}
BAD, NOBODY = (400, "INVALID_REQUEST"), (404, "RUNNER_NOT_FOUND")
WRONG: list[tuple[str, str, str, Any, int, str]] = [
    # Method, path, what it sends: status, code.
    ("no JSON", "POST", "/register", "{", *BAD),
    ("no object", "POST", "/register", [], *BAD),
    ("no body", "POST", "/register", "", *BAD),
    *(
        (f"without {name}", "POST", "/register", {k: v for k, v in NEW.items() if k != name}, *BAD)
        for name in NEW
    ),
    ("port of a wrong type", "POST", "/register", {**NEW, "port": "1"}, *BAD),
    ("name of a wrong type", "POST", "/register", {**NEW, "name": 5}, *BAD),
    ("unknown type", "POST", "/register", {**NEW, "type": "vm"}, *BAD),
    ("metadata that are no object", "POST", "/register", {**NEW, "metadata": []}, *BAD),
    *((f"limit {text}", "GET", f"?limit={text}", None, *BAD) for text in ("0", "-1", "x", "1.5")),
    ("offset -1", "GET", "?offset=-1", None, *BAD),
    ("status starting", "GET", "?status=starting", None, *BAD),
    ("type vm", "GET", "?type=vm", None, *BAD),
    ("the document's id", "GET", "/runner_123", None, *NOBODY),
    ("a bare uuid", "GET", f"/{DOCUMENTED}", None, *NOBODY),
    ("register by GET", "GET", "/register", None, *NOBODY),
    *(
        (f"{sub} of nobody", "GET", f"/nobody/{sub}", None, *NOBODY)
        for sub in ("status", "health", "metrics", "jobs", "config", "logs")
    ),
    ("stream of nobody", "GET", "/nobody/logs?follow=true", None, *NOBODY),
    *((f"{verb} of nobody", "POST", f"/nobody/{verb}", None, *NOBODY) for verb in ("start", "stop", "restart")),
    ("PUT of nobody", "PUT", "/nobody", {}, *NOBODY),
    ("configuration of nobody", "PUT", "/nobody/config", {}, *NOBODY),
    ("deletion of nobody", "DELETE", "/nobody", None, *NOBODY),
    ("job for nobody", "POST", "/nobody/jobs", JOB, *NOBODY),
    *((f"PUT of {name}", "PUT", "/R", {name: "x"}, *BAD) for name in ("type", "id", "status")),
    ("PUT of a list", "PUT", "/R", [], *BAD),
    ("PUT of tags that are none", "PUT", "/R", {"tags": "x"}, *BAD),
    ("force=maybe", "DELETE", "/R?force=maybe", None, *BAD),
    ("period 2h", "GET", "/R/metrics?period=2h", None, *BAD),
    ("resolution 2m", "GET", "/R/metrics?resolution=2m", None, *BAD),
    ("job without a name", "POST", "/R/jobs", {"steps": JOB["steps"]}, *BAD),
    ("job without steps", "POST", "/R/jobs", {"name": "j", "steps": []}, *BAD),
    ("step without run", "POST", "/R/jobs", {"name": "j", "steps": [{"name": "a"}]}, *BAD),
    ("environment of numbers", "POST", "/R/jobs", {**JOB, "environment": {"A": 1}}, *BAD),
    ("timeout 0", "POST", "/R/jobs", {**JOB, "timeout": 0}, *BAD),
    ("retry_count -1", "POST", "/R/jobs", {**JOB, "retry_count": -1}, *BAD),
    ("jobs of status lost", "GET", "/R/jobs?status=lost", None, *BAD),
    ("unknown member of the configuration", "PUT", "/R/config", {"nope": 1}, *BAD),
    ("max_concurrent_jobs 0", "PUT", "/R/config", {"max_concurrent_jobs": 0}, *BAD),
    ("job_timeout as text", "PUT", "/R/config", {"job_timeout": "1800"}, *BAD),
    ("unknown cleanup policy", "PUT", "/R/config", {"cleanup_policy": "sometimes"}, *BAD),
    ("stop with a list", "POST", "/R/stop", [], *BAD),
    ("stop with a timeout of text", "POST", "/R/stop", {"timeout": "5"}, *BAD),
    ("stop with timeout -1", "POST", "/R/stop", {"timeout": -1}, *BAD),
    ("since that is no time", "GET", "/R/logs?since=yesterday", None, *BAD),
    ("level fatal", "GET", "/R/logs?level=fatal", None, *BAD),
    ("log limit 0", "GET", "/R/logs?limit=0", None, *BAD),
    ("follow=maybe", "GET", "/R/logs?follow=maybe", None, *BAD),
    ("stream with a level that is none", "GET", "/R/logs?follow=true&level=x", None, *BAD),
    ("unknown operation", "POST", "/bulk", {"operation": "paint", "filters": {}}, *BAD),
    ("bulk without filters", "POST", "/bulk", {"operation": "start"}, *BAD),
    ("update_config without data", "POST", "/bulk", {"operation": "update_config", "filters": {}}, *BAD),
    ("WebSocket without upgrade", "GET", "/ws", None, 426, "INVALID_REQUEST"),
    ("unknown sub-path", "GET", "/R/nope", None, 404, "INVALID_REQUEST"),
    ("wrong method", "POST", "/R", {}, 405, "INVALID_REQUEST"),
    ("wrong method below", "PATCH", "/bulk", {}, 405, "INVALID_REQUEST"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"), [pytest.param(*row[1:], id=row[0]) for row in WRONG]
)
def test_what_is_wrong_is_said_in_the_documented_envelope(
    rustci: RustCi, runner_id: str, method: str, path: str, body: Any, status: int, code: str
) -> None:
    sent = {} if body is None else {"content": body} if isinstance(body, str) else {"json": body}
    answer = rustci.ask(method, path.replace("/R", f"/{runner_id}", 1), status=status, **sent)
    check_shape(
        answer,
        {
            "success": "boolean",
            "error.code": "string",
            "error.message": "string",
            "error.details": "object",
            "error.details.timestamp": "datetime",
        },
    )
    assert set(answer) == {"success", "error"} and answer["success"] is False
    assert answer["error"]["code"] == code
    assert code in CODES
    assert not re.search(r"Traceback|File \"|proto|grpc", answer["error"]["message"])


def test_the_documented_error_is_exactly_as_documented(rustci: RustCi) -> None:
    error = rustci.ask("GET", "/runner_123", status=404)["error"]
    assert error["message"] == "Runner with ID 'runner_123' not found"
    assert set(error["details"]) == {"runner_id", "timestamp"}
    assert error["details"]["runner_id"] == "runner_123"


LINES = [line for each in CONTRACT["endpoints"] for line in each.get("curl", ())]


def test_every_line_of_the_document_is_in_the_contract_and_no_other() -> None:
    if not DOCUMENT.exists():
        pytest.skip("the document is not beside this checkout")
    text = DOCUMENT.read_text()
    assert all(line in text for line in LINES)
    written = {line for line in re.findall(r"^curl [^\n]*", text, re.M) if "<endpoint>" not in line}
    assert written == {line.split("\n")[0] for line in LINES}
    for block in re.findall(r"```json\n(.*?)```", text, re.S):
        assert json.loads(block) in list(bodies_of(CONTRACT)), block
    for sdk in ("sdk_python", "sdk_javascript"):
        assert CONTRACT[sdk] in text


def bodies_of(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from bodies_of(each)
    elif isinstance(value, list):
        for each in value:
            yield from bodies_of(each)


@pytest.fixture(scope="module")
def documented(rustci_server: SctServer) -> str:
    return add_documented_runner(rustci_server)


def run_line(server: SctServer, line: str) -> subprocess.CompletedProcess[str]:
    """A line of the document in bash, with nothing changed but where the server is; a stream is cut after a second."""
    assert ORIGIN in line
    line = line.replace(ORIGIN, server.url).replace("curl ", "curl -sS -m 15 -w '\\n%{http_code}' ", 1)
    if "follow=true" in line:
        line = line.replace("-m 15", "-N -m 1")
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=40, check=False)


@pytest.mark.parametrize("line", sorted(LINES, key=lambda line: "DELETE" in line))
def test_every_line_of_the_document_runs_as_it_stands(rustci_server: SctServer, documented: str, line: str) -> None:
    if "DELETE" in line and "force" in line:
        add_documented_runner(rustci_server)
    done = run_line(rustci_server, line)
    body, _, status = done.stdout.rpartition("\n")
    endpoint = next(each for each in CONTRACT["endpoints"] if line in each.get("curl", ()))
    assert int(status) == endpoint["success"]["status"], done
    if "follow=true" in line:
        assert "event: log\ndata: {" in body
    else:
        check_shape(json.loads(body), endpoint["success"]["required"], endpoint["success"].get("optional"))


@pytest.mark.parametrize("line", [line for line in LINES if DOCUMENTED in line])
def test_without_that_runner_every_line_says_so(make_rustci: SctServer, line: str) -> None:
    done = run_line(make_rustci, line)
    body, _, status = done.stdout.rpartition("\n")
    assert (status, json.loads(body)["error"]["code"]) == ("404", "RUNNER_NOT_FOUND")


@pytest.fixture(scope="module")
def make_rustci(rustci_server: SctServer) -> SctServer:
    """The same server before, or after, it has the documented runner: the lines that delete it run last."""
    with RustCi(rustci_server).http as http:
        http.delete(f"{RUNNERS}/runner_{DOCUMENTED}?force=true")
    return rustci_server


def test_the_python_sdk_runs_unmodified(rustci: RustCi, tmp_path: Path) -> None:
    pytest.importorskip("requests", reason="requests (Python package) is not installed")
    program = tmp_path / "sdk.py"
    program.write_text(CONTRACT["sdk_python"].replace(ORIGIN, rustci.server.url))
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60, check=True)
    check_output(rustci, done.stdout)


def test_the_javascript_sdk_runs_unmodified_in_node(rustci: RustCi, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    program = tmp_path / "sdk.js"
    program.write_text(CONTRACT["sdk_javascript"].replace(ORIGIN, rustci.server.url))
    done = subprocess.run([node, str(program)], capture_output=True, text=True, timeout=60, check=True)
    check_output(rustci, done.stdout)


def check_output(rustci: RustCi, output: str) -> None:
    """Both print what they got, and the job really runs."""
    registered = re.search(r"^Runner registered: (runner_\S+)$", output, re.M)
    submitted = re.search(r"^Job submitted: (job_\S+)$", output, re.M)
    assert registered is not None and submitted is not None, output
    assert rustci.ended(registered[1], submitted[1])["exit_code"] == 0


@pytest.fixture
def page_of_another_site(rustci: RustCi, tmp_path: Path) -> Iterator[str]:
    """A page with the JavaScript SDK, at the origin that the server's settings name."""
    script = CONTRACT["sdk_javascript"].replace(ORIGIN, rustci.server.url)
    updates = (
        f"new WebSocket('{rustci.server.url.replace('http', 'ws')}{RUNNERS}/ws').onopen = () => console.log('open')"
    )
    (tmp_path / "index.html").write_text(
        f"<!doctype html><link rel=icon href=data:,><script>{updates}\n{script}</script>"
    )

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    def handler(*args: Any) -> Quiet:
        return Quiet(*args, directory=str(tmp_path))

    port = int(PAGE_ORIGIN.rpartition(":")[2])
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield PAGE_ORIGIN
        server.shutdown()
        thread.join()


@pytest.mark.timeout(120)
def test_the_javascript_sdk_runs_unmodified_in_a_page(rustci: RustCi, page_of_another_site: str) -> None:
    with chromium() as browser:
        page = browser.new_page()
        lines: list[str] = []
        page.on("console", lambda message: lines.append(message.text))
        page.goto(page_of_another_site)
        for _ in range(100):
            if len(lines) >= 3:
                break
            page.wait_for_timeout(100)
        page.close()
    assert "open" in lines
    check_output(rustci, "\n".join(lines))
