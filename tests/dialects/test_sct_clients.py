"""contract/sct.md §9: the flows of SCT's Python client and of the Go client, with what each demands of an answer."""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sct_server import COMMANDS, CONTRACT, JSON, KEY, Sct, SctServer, until

RETRIED = {429, 500, 502, 503, 504}


class AgentClientError(Exception):
    """What the Python client raises: it prints the message of every error body."""


class AgentClient:
    """As SCT's Python client reads answers: `.json()` of everything, members by name, times by `fromisoformat`."""

    def __init__(self, url: str, key: str) -> None:
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        reply = self._http.request(method, path, **options)
        answer: dict[str, Any] = reply.json()
        if reply.status_code != 200:
            raise AgentClientError(reply.status_code, answer["error"], answer["message"])
        return answer

    def health(self) -> bool:
        return bool(self._call("GET", "/health")["status"] == "healthy")

    def execute(self, command: str, args: list[str], **members: Any) -> str:
        answer = self._call("POST", COMMANDS, json={"command": command, "args": args, **members})
        assert answer["status"] and datetime.fromisoformat(answer["created_at"].replace("Z", "+00:00"))
        job_id: str = answer["job_id"]
        return job_id

    def status(self, job_id: str) -> dict[str, Any]:
        job = self._call("GET", f"{COMMANDS}/{job_id}")
        for name in ("created_at", "started_at", "completed_at"):
            if name in job:
                # Before Python 3.11 fromisoformat took 3 or 6 digits only.
                assert len(job[name].rpartition(".")[2]) == 7
                datetime.fromisoformat(job[name].replace("Z", "+00:00"))
        return job

    def wait(self, job_id: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            job = self.status(job_id)
            return job if job["status"] in ("completed", "failed", "cancelled") else None

        return until(look, "the end of the job")

    def follow(self, job_id: str) -> str:
        """As its streaming path does: prints what is beyond what was printed."""
        printed = ""
        while True:
            job = self.status(job_id)
            printed += job.get("stdout", "")[len(printed) :]
            if job["status"] not in ("queued", "running"):
                return printed
            time.sleep(0.02)  # As the client does; it waits for nothing here.


@pytest.fixture(scope="module")
def agent(server: SctServer) -> Any:
    client = AgentClient(server.url, KEY)
    yield client
    client.close()


def test_the_python_clients_flow(agent: AgentClient) -> None:
    assert agent.health()
    job = agent.wait(agent.execute("/bin/bash", ["-c", "echo $((6 * 7)); echo warn >&2"], tags={"runner": "sct"}))
    assert (job["status"], job["exit_code"], job["stdout"], job["stderr"]) == ("completed", 0, "42\n", "warn\n")
    failed = agent.wait(agent.execute("/bin/bash", ["-c", "exit 3"]))
    assert (failed["status"], failed["exit_code"]) == ("failed", 3)


def test_the_python_clients_streaming_prints_every_line_once(agent: AgentClient) -> None:
    job_id = agent.execute("/bin/bash", ["-c", "for i in $(seq 20); do echo line $i; sleep 0.02; done"])
    assert agent.follow(job_id) == "".join(f"line {number}\n" for number in range(1, 21))


def test_the_python_clients_errors_are_clean(agent: AgentClient) -> None:
    with pytest.raises(AgentClientError, match="not found"):
        agent.status("gone")
    with pytest.raises(AgentClientError, match="command"):
        agent.execute("", [])


def test_a_file_travels_both_ways(agent: AgentClient, tmp_path: Path) -> None:
    content = bytes(range(256)) * 256
    target = tmp_path / "file"
    upload = f"base64 -d > {target} <<'EOF'\n{base64.b64encode(content).decode()}\nEOF"
    assert agent.wait(agent.execute("/bin/bash", ["-c", upload]))["exit_code"] == 0
    assert target.read_bytes() == content
    job = agent.wait(agent.execute("/bin/bash", ["-c", f"base64 {target}"]))
    assert base64.b64decode(job["stdout"]) == content


def test_the_go_clients_flow(server: SctServer) -> None:
    """It takes 200 alone for success, decodes into fixed types and knows five status words."""

    def decode(reply: httpx.Response) -> dict[str, Any]:
        assert reply.status_code == 200
        assert reply.headers["content-type"] == JSON
        answer: dict[str, Any] = json.loads(reply.content)
        return answer

    sct = server.client()
    sct.http.headers["User-Agent"] = "Go-http-client/1.1"
    created = decode(sct.post({"command": "echo", "args": ["go"], "priority": "high", "timeout": 30}))
    path = f"{COMMANDS}/{created['job_id']}"

    def look() -> dict[str, Any] | None:
        job = decode(sct.http.get(path))
        assert job["status"] in CONTRACT["statuses"]
        return job if job["status"] == "completed" else None

    job = until(look, "completed")
    strings = ("job_id", "command", "priority", "status", "stdout", "created_at", "started_at", "completed_at")
    assert all(type(job[name]) is str for name in strings)
    assert all(type(job[name]) is int for name in ("timeout", "exit_code", "duration_ms"))
    query = {"status": "completed", "limit": "1", "offset": "0", "since": job["created_at"]}
    page = decode(sct.http.get(COMMANDS, params=query))
    assert all(type(page[name]) is int for name in ("total", "limit", "offset"))
    refusal = sct.http.delete(path)
    error = json.loads(refusal.content)
    assert f"HTTP {refusal.status_code}: {error['error']} - {error['message']}" == (
        "HTTP 400: Cannot cancel job - job cannot be cancelled (status: completed)"
    )


# Posts that are sent again


def test_a_repeated_idempotency_key_returns_the_first_job(sct: Sct, tmp_path: Path) -> None:
    body = {"command": "/bin/sh", "args": ["-c", "echo ran >> ran"], "working_dir": str(tmp_path)}
    headers = {"Idempotency-Key": "once"}
    first = sct.post(body, headers=headers).json()
    sct.ended(first["job_id"])
    again = sct.post(body, headers=headers)
    assert again.status_code == 200
    assert {**again.json(), "status": "queued"} == first
    other = sct.post(body, headers={"Idempotency-Key": "twice"}).json()
    assert other["job_id"] != first["job_id"]
    sct.ended(other["job_id"])
    assert (tmp_path / "ran").read_text() == "ran\nran\n"


def test_one_command_sent_twelve_times_at_once_runs_once(sct: Sct, tmp_path: Path) -> None:
    body = {"command": "/bin/sh", "args": ["-c", "echo ran >> ran"], "working_dir": str(tmp_path)}
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda _: sct.post(body, headers={"Idempotency-Key": "storm"}), range(12)))
    assert {reply.status_code for reply in replies} == {200}
    (job_id,) = {reply.json()["job_id"] for reply in replies}
    sct.ended(job_id)
    assert (tmp_path / "ran").read_text() == "ran\n"


def test_keys_of_two_callers_do_not_meet(server: SctServer, sct: Sct) -> None:
    body, headers = {"command": "true"}, {"Idempotency-Key": "mine"}
    other = server.client("sct-runner-key-2")
    ids = {client.post(body, headers=headers).json()["job_id"] for client in (sct, other)}
    assert len(ids) == 2


def test_a_key_that_was_used_for_another_command_is_a_clean_refusal(sct: Sct) -> None:
    headers = {"Idempotency-Key": "for true"}
    assert sct.post({"command": "true"}, headers=headers).status_code == 200
    reply = sct.post({"command": "false"}, headers=headers)
    assert reply.status_code not in RETRIED and reply.status_code == 409
    assert set(reply.json()) == {"error", "message"}


def test_an_idempotency_key_that_is_too_long_is_named(sct: Sct) -> None:
    reply = sct.post({"command": "true"}, headers={"Idempotency-Key": "x" * 201})
    assert reply.status_code == 400
    assert reply.json()["message"].startswith("Idempotency-Key: ")


def test_many_short_jobs_in_a_row(sct: Sct) -> None:
    for number in range(20):
        assert sct.ended(sct.submit("echo", str(number)))["stdout"] == f"{number}\n"


# Capacity


def test_jobs_beyond_the_slots_wait_and_beyond_the_bound_are_429(make_server: Callable[..., SctServer]) -> None:
    config = {
        "security": {"api_keys": [KEY]},
        "executor": {"max_concurrent_jobs": 1, "max_queued_jobs": 4},
    }
    sct = make_server(config).client()
    blocker = sct.sh("echo up; exec sleep 1000")
    sct.wrote(blocker, "up")
    wanted = ["low", "normal", "high", "whatever"]
    waiting = [sct.submit("true", priority=priority) for priority in wanted]
    assert {sct.job(job_id)["status"] for job_id in waiting} == {"queued"}
    total = sct.list()["total"]

    full = sct.post({"command": "true"})
    assert full.status_code == 429
    assert full.headers["content-type"] == JSON
    assert int(full.headers["retry-after"]) >= 1
    assert full.json()["error"] == "Too many jobs"
    assert full.json()["message"]
    assert sct.list()["total"] == total, "a refused command was kept"
    assert sct.http.get("/health").json()["status"] == "healthy"
    assert sct.http.get("/health").json()["running_jobs"] == 1

    sct.cancel(blocker)
    ended = [sct.ended(job_id) for job_id in waiting]
    assert {job["status"] for job in ended} == {"completed"}
    order = [job["priority"] for job in sorted(ended, key=lambda job: str(job["started_at"]))]
    assert order == ["high", "normal", "whatever", "low"]
    # One at a time: each started after the one before had ended.
    spans = sorted((job["started_at"], job["completed_at"]) for job in ended)
    assert all(later[0] >= earlier[1] for earlier, later in itertools.pairwise(spans))
    assert sct.post({"command": "true"}).status_code == 200
