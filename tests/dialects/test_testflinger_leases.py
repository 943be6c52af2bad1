"""Leases over HTTP: any call of a job's agent renews it, in the forms of both eras; nobody else's does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from testflinger_clients import Job, NewAgent, OldAgent, OldCli
from testflinger_server import PATIENCE, LabServer, queue_name

LOG = {"fragment_number": 0, "timestamp": "2026-11-20T15:44:33+00:00", "phase": "test", "log_data": "x"}
POSTS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/result/{job}", {"json": {"test_status": 0}}),
    ("/v1/result/{job}", {"json": {"job_state": "test"}}),
    ("/v1/result/{job}/output", {"content": b"x"}),
    ("/v1/result/{job}/serial_output", {"content": b"x"}),
    ("/v1/result/{job}/log/output", {"json": LOG}),
    ("/v1/result/{job}/log/serial", {"json": LOG}),
    ("/v1/result/{job}/artifact", {"files": {"file": b"x"}}),
    ("/v1/agents/data/{agent}", {"json": {"state": "test"}}),
    ("/v1/agents/provision_logs/{agent}", {"json": {"job_id": "{job}", "exit_code": 0}}),
    ("/v1/job/{job}/events", {"json": {"job_status_webhook": "http://127.0.0.1:1/", "events": []}}),
]
GETS = ["/v1/result/{job}", "/v1/job/{job}/attachments"]
OF_NAMED_AGENTS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/v1/agents/data/{agent}", {}),
    ("POST", "/v1/agents/queues", {"json": {"q": "a queue"}}),
    ("POST", "/v1/agents/images", {"json": {"q": {}}}),
]
CALLS = [("POST", *post) for post in POSTS] + [("GET", path, {}) for path in GETS]
ROWS = [
    *((era, *call) for era in ("seed", "today") for call in CALLS),
    *(("today", *call) for call in OF_NAMED_AGENTS),
]


@pytest.fixture
def http(lab: LabServer) -> Iterator[httpx.Client]:
    with lab.http() as client:
        yield client


@pytest.fixture
def stranger(lab: LabServer) -> Iterator[httpx.Client]:
    """Calls from another address of this machine."""
    with httpx.Client(base_url=lab.url, transport=httpx.HTTPTransport(local_address="127.0.0.2"), timeout=60) as client:
        yield client


def popped(http: httpx.Client, era: str) -> tuple[OldAgent, Job]:
    kind = OldAgent if era == "seed" else NewAgent
    agent = kind(http, queue_name().replace("queue", "agent"), (queue_name(),))
    agent.announce()
    OldCli(http).submit(agent.queues[0])
    return agent, agent.take()


def lease(http: httpx.Client, job: Job) -> str:
    shown: str = http.get(f"/api/v2/queues/jobs/{job['job_id']}").json()["queueJob"]["leaseEndTime"]
    return shown


def shorten(http: httpx.Client, job: Job) -> str:
    """As if it had not been renewed for long."""
    http.post(f"/api/v2/queues/jobs/{job['job_id']}:renew", json={"lease": "60s"}).raise_for_status()
    return lease(http, job)


def call(http: httpx.Client, method: str, path: str, options: dict[str, Any], agent: str, job: Job) -> int:
    job_id = job["job_id"]
    given = {**options}
    if "json" in given and given["json"].get("job_id"):
        given["json"] = {**given["json"], "job_id": job_id}
    return http.request(method, path.format(job=job_id, agent=agent), **given).status_code


@pytest.mark.parametrize(("era", "method", "path", "options"), ROWS, ids=lambda part: part if part else "")
def test_any_call_of_its_agent_renews_the_lease(
    lab: LabServer, http: httpx.Client, era: str, method: str, path: str, options: dict[str, Any]
) -> None:
    agent, job = popped(http, era)
    assert bool(http.cookies) == (era == "today")
    with lab.http() as watcher:
        before = shorten(watcher, job)
        # The webhook refuses; nobody has attached anything.
        assert call(http, method, path, options, agent.name, job) in (200, 204, 504)
        assert lease(watcher, job) > before


@pytest.mark.parametrize("era", ["seed", "today"])
def test_who_only_watches_renews_nothing(http: httpx.Client, stranger: httpx.Client, era: str) -> None:
    agent, job = popped(http, era)
    before = shorten(stranger, job)
    paths = [
        *GETS,
        "/v1/job/{job}",
        "/v1/result/{job}/output",
        "/v1/result/{job}/log/output",
        "/v1/agents/data/{agent}",
    ]
    for path in paths:
        assert call(stranger, "GET", path, {}, agent.name, job) in (200, 204, 403)
    assert lease(stranger, job) == before


def test_an_agent_that_asks_for_jobs_again_is_lost_no_more(tmp_path_factory: pytest.TempPathFactory) -> None:
    times = {"default_timeout_seconds": 0.05, "lease_grace_seconds": 0.1, "lease_sweep_seconds": 0.05}
    with LabServer(tmp_path_factory.mktemp("again"), **times) as lab, lab.http() as http, lab.http() as watcher:
        agent, job = popped(http, "today")
        agent.http.cookies.set("agent_name", agent.name)

        def shown() -> str:
            (one,) = watcher.get(f"/v1/queues/{agent.queues[0]}/agents").json()
            return str(one["state"])

        tick, deadline = threading.Event(), time.monotonic() + PATIENCE
        while shown() != "offline" and time.monotonic() < deadline:
            tick.wait(0.05)
        assert (OldCli(watcher).state(job["job_id"]), shown()) == ("complete", "offline")
        assert agent.get_job() is None
        assert shown() == "waiting"
