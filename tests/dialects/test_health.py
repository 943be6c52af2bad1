"""GET /health: the union of SCT agent's and KubeAgents' page (collisions.md C1; contract/sct.md §3)."""

from __future__ import annotations

import re

import httpx
import pytest
from sct_server import JSON, Sct, SctServer, until

from runner_client import __version__


def test_the_health_page_is_the_documented_union(server: SctServer) -> None:
    reply = server.client(key=None).http.get("/health")
    assert reply.status_code == 200 and reply.headers["content-type"] == JSON
    page = reply.json()
    assert list(page) == [
        "status",
        "timestamp",
        "version",
        "uptime_seconds",
        "running_jobs",
        "completed_jobs",
        "system",
    ]
    assert page["status"] == "healthy"
    assert page["version"] == __version__
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", page["timestamp"])
    for count in (page["uptime_seconds"], page["running_jobs"], page["completed_jobs"]):
        assert type(count) is int and count >= 0
    assert type(page["system"]["memory_usage_mb"]) is int and page["system"]["memory_usage_mb"] > 0


@pytest.mark.parametrize("header", ["Bearer nobody", "Bearer", "Basic eDp5", "nonsense"])
def test_a_wrong_credential_is_not_looked_at(server: SctServer, header: str) -> None:
    assert (
        httpx.get(f"{server.url}/health", headers={"Authorization": header}, timeout=60, trust_env=False).status_code
        == 200
    )


def test_head_works_without_a_body(server: SctServer) -> None:
    reply = httpx.head(f"{server.url}/health", timeout=60, trust_env=False)
    assert (reply.status_code, reply.content, reply.headers["content-type"]) == (200, b"", JSON)


def test_queries_are_ignored(server: SctServer) -> None:
    assert httpx.get(f"{server.url}/health?probe=1&probe=2", timeout=60, trust_env=False).status_code == 200


def test_running_and_completed_jobs_are_counted_and_others_are_not(sct: Sct) -> None:
    # What another test has cancelled counts as long as its process lives.
    until(lambda: sct.http.get("/health").json()["running_jobs"] == 0, "the end of what others ran")
    before = sct.http.get("/health").json()
    job_id = sct.sh("echo up; exec sleep 1000")
    sct.wrote(job_id, "up")
    sct.run("true")
    sct.run("false")
    now = sct.http.get("/health").json()
    assert now["running_jobs"] == before["running_jobs"] + 1
    assert now["completed_jobs"] == before["completed_jobs"] + 1
    sct.cancel(job_id)
    sct.when(job_id, lambda job: sct.http.get("/health").json()["running_jobs"] == before["running_jobs"], "no job")
    assert sct.http.get("/health").json()["completed_jobs"] == before["completed_jobs"] + 1
