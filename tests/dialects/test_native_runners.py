"""Runners over the native REST API: what RunnerService offers, as JSON."""

from __future__ import annotations

from typing import Any

import pytest
from rustci_server import RustCi, events_of
from sct_server import until

RUNNERS = "/api/v2/runners"


@pytest.fixture
def runner(rustci: RustCi) -> dict[str, Any]:
    body = {"name": "native", "hosted": True, "kind": "KIND_DOCKER", "tags": ["v2"], "metadata": {"a": 1.50}}
    reply = rustci.http.post(RUNNERS, json=body)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()["runner"]
    return found


def ask(rustci: RustCi, method: str, path: str, *, status: int = 200, **options: Any) -> Any:
    reply = rustci.http.request(method, f"{RUNNERS}{path}", **options)
    assert reply.status_code == status, reply.text
    return reply.json()


def test_a_runner_is_made_changed_and_forgotten(rustci: RustCi, runner: dict[str, Any]) -> None:
    path = f"/{runner['runnerId']}"
    changes = {"name": "renamed", "tags": [], "metadata": {"b": None, "c": [1]}, "resources": {"cpuCores": 2}}
    changed = ask(rustci, "PATCH", path, json=changes)["runner"]
    assert (changed["name"], changed["tags"], changed["resources"]["cpuCores"]) == ("renamed", [], 2)
    assert changed["metadata"] == {"a": 1.5, "c": [1]}
    shown = ask(rustci, "GET", path)["runner"]
    assert (shown["state"], shown["hosted"], shown["statistics"]["executedJobs"]) == ("STATE_ACTIVE", True, "0")
    assert ask(rustci, "PATCH", path, json={"state": "STATE_ERROR"}, status=400)
    listed = ask(rustci, "GET", "?kind=KIND_DOCKER&tags=v2&pageSize=1000")["runners"]
    assert all(one["tags"] == ["v2"] for one in listed)
    ask(rustci, "DELETE", path)
    assert ask(rustci, "GET", path, status=404)["details"][0]["reason"] == "RUNNER_DELETED"


def test_its_configuration_is_changed_by_member(rustci: RustCi, runner: dict[str, Any]) -> None:
    path = f"/{runner['runnerId']}/config"
    changes = {"maxConcurrentJobs": 2, "limits": {"memoryLimit": "1Gi"}, "jobTimeout": "90s"}
    answer = ask(rustci, "PATCH", path, json=changes)
    config = ask(rustci, "GET", path)["config"]
    assert answer == {"config": config, "restartRequired": False}
    assert (config["maxConcurrentJobs"], config["jobTimeout"]) == (2, "90s")
    assert config["limits"] == {"cpuLimit": "2000m", "memoryLimit": "1Gi", "diskLimit": "10Gi"}
    assert ask(rustci, "PATCH", path, json={"docker": {"privileged": True}})["restartRequired"] is False
    ask(rustci, "PATCH", path, json={"limits": {"cpuLimit": "many"}}, status=400)


def test_it_is_told_what_to_do_alone_and_with_others(rustci: RustCi, runner: dict[str, Any]) -> None:
    path = f"/{runner['runnerId']}"
    assert ask(rustci, "POST", f"{path}:stop", json={"reason": "night"})["runner"]["state"] == "STATE_INACTIVE"
    ask(rustci, "POST", f"{path}:start", json={})
    until(lambda: ask(rustci, "GET", path)["runner"]["state"] == "STATE_ACTIVE", "an active runner")
    assert ask(rustci, "POST", f"{path}:drain", json={})["runner"]["state"] == "STATE_INACTIVE"
    operation = {"operation": "OPERATION_RESTART", "tags": ["v2"], "kind": "KIND_DOCKER"}
    results = ask(rustci, "POST", ":batchOperate", json=operation)["results"]
    assert {"runnerId": runner["runnerId"], "errorReason": "", "errorMessage": ""} in results
    until(lambda: ask(rustci, "GET", path)["runner"]["state"] == "STATE_ACTIVE", "an active runner")
    entries = ask(rustci, "GET", f"{path}/logs?level=LEVEL_INFO")["entries"]
    assert "Runner status changed: active -> inactive (night)" in [entry["message"] for entry in entries]
    with rustci.http.stream("GET", f"{RUNNERS}{path}/logs:stream") as reply:
        (first,) = events_of(reply, 1)
    assert first[0] == "1" and first[2]["entry"]["message"] == "Runner registered: native"


def test_what_is_told_twice_under_one_request_id_happens_once(rustci: RustCi, runner: dict[str, Any]) -> None:
    path = f"/{runner['runnerId']}"
    first = ask(rustci, "POST", f"{path}:restart", json={"reason": "once", "requestId": "r1"})
    until(lambda: ask(rustci, "GET", path)["runner"]["state"] == "STATE_ACTIVE", "an active runner")
    assert ask(rustci, "POST", f"{path}:restart", json={"reason": "once", "requestId": "r1"}) == first
    messages = [entry["message"] for entry in ask(rustci, "GET", f"{path}/logs")["entries"]]
    assert sum("active -> restarting" in message for message in messages) == 1
    ask(rustci, "POST", f"{path}:restart", json={"reason": "other", "requestId": "r1"}, status=409)


def test_its_health_status_and_metrics_can_be_asked_for(rustci: RustCi, runner: dict[str, Any]) -> None:
    path = f"/{runner['runnerId']}"
    health = ask(rustci, "GET", f"{path}/health")["health"]
    assert health["checks"]["connectivity"]["passed"] is True
    assert ask(rustci, "GET", f"{path}/status")["health"]["status"] == health["status"]

    def memory() -> Any:
        return ask(rustci, "GET", f"{path}/metrics?period=3600s&resolution=60s")["metrics"]["memory"]

    # A runner that is made as a minute begins is there before the machine's first sample of it.
    assert until(memory, "a sample")[0]["value"] > 0
    ask(rustci, "GET", f"{path}/metrics?period=9999999s", status=400)


def test_events_are_watched_from_where_the_client_was(rustci: RustCi, runner: dict[str, Any]) -> None:
    with rustci.http.stream("GET", f"{RUNNERS}:watch?after=1") as reply:
        (event,) = events_of(reply, 1)
    assert event[2]["event"]["sequence"] == event[0] and int(event[0]) > 1
    with rustci.http.stream("GET", f"{RUNNERS}:watch", headers={"Last-Event-ID": event[0]}) as reply:
        (following,) = events_of(reply, 1)
    assert int(following[0]) > int(event[0])


def test_a_job_goes_to_the_runner_whose_label_it_requires(rustci: RustCi, runner: dict[str, Any]) -> None:
    spec = {"steps": [{"script": "echo bound"}], "requiredLabels": {"runner_id": runner["runnerId"]}}
    job = rustci.http.post("/api/v2/jobs", json={"spec": spec}).json()["job"]["jobId"]
    ended = rustci.http.get(f"/api/v2/jobs/{job}:wait").json()["job"]
    assert ended["state"] == "STATE_SUCCEEDED"
    messages = [entry["message"] for entry in ask(rustci, "GET", f"/{runner['runnerId']}/logs")["entries"]]
    assert "bound" in messages
    assert rustci.jobs(f"runner_{runner['runnerId']}") == []  # Another API's.
