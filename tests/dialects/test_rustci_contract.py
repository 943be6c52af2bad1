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
from rustci_rows import drives
from rustci_server import (
    CONTRACT,
    DOCUMENTED,
    ENDPOINTS,
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


@drives("*/method", "*/path", "*/path_params", "decisions/R24")
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


@drives("*/success/status", "*/success/also_accept", "*/success/required", "*/success/optional", "*/success/fixed")
@drives("*/success/patterns", "*/success/example", "*/request/examples", "*/request/required", "*/request/optional")
@drives("*/request/content_type", "decisions/R1", "decisions/R9", "decisions/R10")
@pytest.mark.parametrize(("name", "body"), CALLS)
def test_a_documented_request_gets_the_documented_answer(rustci: RustCi, runner_id: str, name: str, body: Any) -> None:
    endpoint, success = ENDPOINTS[name], ENDPOINTS[name]["success"]
    path = endpoint["path"].replace("{runner_id}", runner_id)
    reply = rustci.http.request(endpoint["method"], path, **({} if body is None else {"json": body}))
    assert reply.status_code == success["status"], reply.text
    assert reply.headers["content-type"] == "application/json"
    answer = reply.json()
    check_shape(answer, success["required"], success.get("optional"))
    missing = members_of(success["example"]["body"]) - members_of(answer)
    if "checks.docker_daemon.message" in members_of(answer):
        missing -= {"checks.docker_daemon.version"}  # no daemon on this machine
    assert not missing
    for member, value in success.get("fixed", {}).items():
        assert answer[member] == value
    for member, pattern in success.get("patterns", {}).items():
        assert re.search(pattern, answer[member]), answer[member]
    if name in ("rustci.stop_runner", "rustci.restart_runner"):
        rustci.ask("POST", f"/{runner_id}/start")


def members_of(value: Any, path: str = "") -> set[str]:
    """The paths of all members, those of the elements of a list together; metadata and the names of capabilities are a
    runner's own."""
    if isinstance(value, list):
        return {found for each in value for found in members_of(each, path)}
    if not isinstance(value, dict):
        return set()
    found = set()
    for name, each in value.items():
        found |= {f"{path}{name}"}
        if name not in ("metadata", "capabilities_status"):
            found |= members_of(each, f"{path}{name}.")
    return found


@drives("delete_runner/success/*")
def test_a_deletion_is_answered_as_documented(rustci: RustCi) -> None:
    success = ENDPOINTS["rustci.delete_runner"]["success"]
    for query in ({}, {"force": "true"}):
        answer = rustci.ask("DELETE", f"/{rustci.register()}", params=query)
        assert answer == success["example"]["body"]


LINES = [line for each in CONTRACT["endpoints"] for line in each.get("curl", ())]


@drives("*/curl")
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
    """A line of the document in bash, with nothing changed but where the server is; a stream is cut after a second, or
    later where nothing has come by then."""
    assert ORIGIN in line
    line = line.replace(ORIGIN, server.url).replace("curl ", "curl -sS -m 80 -w '\\n%{http_code}' ", 1)
    for seconds in (1, 4, 30) if "follow=true" in line else ():
        cut = line.replace("-m 80", f"-N -m {seconds}")
        done = subprocess.run(["bash", "-c", cut], capture_output=True, text=True, timeout=90, check=False)
        if done.stdout.split() not in (["000"], ["200"]):
            return done
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=90, check=False)


@drives("*/curl", "auth", "decisions/R6")
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


@drives("sdk_python", "decisions/R6", "decisions/R46")
def test_the_python_sdk_runs_unmodified(rustci: RustCi, tmp_path: Path) -> None:
    pytest.importorskip("requests", reason="requests (Python package) is not installed")
    program = tmp_path / "sdk.py"
    program.write_text(CONTRACT["sdk_python"].replace(ORIGIN, rustci.server.url))
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60, check=True)
    check_output(rustci, done.stdout)


@drives("sdk_javascript")
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


@drives("sdk_javascript")
@pytest.mark.timeout(600)
def test_the_javascript_sdk_runs_unmodified_in_a_page(rustci: RustCi, page_of_another_site: str) -> None:
    with chromium() as browser:
        page = browser.new_page()
        lines: list[str] = []
        page.on("console", lambda message: lines.append(message.text))
        page.goto(page_of_another_site)
        for _ in range(600):
            if len(lines) >= 3:
                break
            page.wait_for_timeout(100)
        page.close()
    assert "open" in lines
    check_output(rustci, "\n".join(lines))
