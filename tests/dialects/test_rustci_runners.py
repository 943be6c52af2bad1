"""RustCI's runners at work: jobs, control, logs, live updates, limits and credentials."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from rustci_rows import drives
from rustci_server import NEW, RUNNERS, RustCi, events_of
from sct_server import PATIENCE, until
from websockets.sync.client import connect


@drives("decisions/R25")
def test_steps_run_in_order_and_the_failing_one_ends_the_job(rustci: RustCi) -> None:
    runner = rustci.register()
    job = rustci.submit(runner, "echo one $WORD", "echo oops >&2; exit 7", "echo never", environment={"WORD": "more"})
    ended = rustci.ended(runner, job)
    assert (ended["status"], ended["exit_code"]) == ("failed", 7)
    entries = [entry for entry in rustci.logs(runner) if entry["context"].get("job_id") == job]
    said = [(entry["level"], entry["message"], entry["context"]["step"]) for entry in entries]
    assert ("info", "one more", "step0") in said
    assert ("error", "oops", "step1") in said
    assert said[-1] == ("error", f"Job failed: {job}", "step1")
    assert not any(message == "never" for _, message, _ in said)


@drives("decisions/R26")
def test_a_job_that_runs_out_of_time_has_no_exit_code_and_is_tried_again_as_asked(rustci: RustCi) -> None:
    runner = rustci.register()
    job = rustci.ended(runner, rustci.submit(runner, "sleep 1000", timeout=1, retry_count=1))
    assert (job["status"], job["exit_code"]) == ("timed_out", None)
    assert sum(entry["message"].startswith("Job started") for entry in rustci.logs(runner)) == 2
    statistics = rustci.ask("GET", f"/{runner}")["statistics"]
    assert (statistics["total_jobs_executed"], statistics["failed_jobs"]) == (1, 1)


@drives("decisions/R16", "decisions/R27", "list_jobs/notes/2", "list_jobs/query/status")
def test_no_more_jobs_run_at_one_time_than_the_configuration_says_live(rustci: RustCi) -> None:
    runner = rustci.register(metadata={"max_concurrent_jobs": 1})
    assert rustci.ask("GET", f"/{runner}/config")["configuration"]["max_concurrent_jobs"] == 1
    jobs = [rustci.submit(runner, "sleep 1000") for _ in range(3)]
    rustci.running(runner, jobs[0])
    load = rustci.ask("GET", f"/{runner}/status")["current_load"]
    assert (load["active_jobs"], load["queued_jobs"]) == (1, 2)
    assert [job["status"] for job in rustci.jobs(runner)] == ["queued", "queued", "running"]
    assert [job["job_id"] for job in rustci.jobs(runner, status="queued", limit="1")] == [jobs[2]]
    rustci.ask("PUT", f"/{runner}/config", json={"max_concurrent_jobs": 3})
    for job in jobs[1:]:
        rustci.running(runner, job)
    rustci.ask("DELETE", f"/{runner}", status=409)
    assert rustci.ask("DELETE", f"/{runner}", params="force")["success"]
    rustci.ask("GET", f"/{runner}", status=404)


@drives("decisions/R17", "delete_runner/errors/409", "delete_runner/notes/0")
def test_a_busy_runner_says_how_many_jobs_keep_it(rustci: RustCi) -> None:
    runner = rustci.register()
    rustci.running(runner, rustci.submit(runner, "sleep 1000"))
    error = rustci.ask("DELETE", f"/{runner}?force=false", status=409)["error"]
    assert (error["code"], error["details"]["active_jobs"]) == ("INVALID_REQUEST", 1)
    rustci.ask("DELETE", f"/{runner}?force=YES")


@drives(
    "decisions/R8",
    "decisions/R31",
    "decisions/R34",
    "decisions/R41",
    "stop_runner/notes/0",
    "stop_runner/request/*",
    "start_runner/notes/0",
    "submit_job/errors/503",
    "ws_runners/*",
)
def test_an_immediate_stop_ends_what_runs_and_keeps_what_waits(rustci: RustCi) -> None:
    runner = rustci.register(metadata={"max_concurrent_jobs": 1})
    running, queued = rustci.submit(runner, "sleep 1000"), rustci.submit(runner, "echo later")
    rustci.running(runner, running)
    with connect(rustci.server.url.replace("http", "ws") + f"{RUNNERS}/ws", proxy=None, open_timeout=60) as updates:
        updates.send("this is ignored")
        assert rustci.ask("POST", f"/{runner}/stop")["status"] == "stopped"
        assert rustci.status(runner) == "inactive"
        rustci.ask("POST", f"/{runner}/stop")
        error = rustci.ask("POST", f"/{runner}/jobs", json=job_body(), status=503)["error"]
        assert error["code"] == "RUNNER_UNAVAILABLE"
        assert rustci.job(runner, running)["status"] == "cancelled"
        assert rustci.job(runner, queued)["status"] == "queued"
        for _ in range(2):
            assert rustci.ask("POST", f"/{runner}/start")["status"] == "starting"
        assert rustci.ended(runner, queued)["status"] == "completed"
        frames = []
        while len(frames) < 4:
            frame = json.loads(updates.recv(timeout=PATIENCE))
            if frame["runner_id"] == runner:
                frames.append(frame)
    assert set(frames[0]) == {"type", "runner_id", "old_status", "new_status", "timestamp"}
    assert {frame["type"] for frame in frames} == {"runner_status_change"}
    assert [(frame["old_status"], frame["new_status"]) for frame in frames] == [
        ("active", "stopping"),
        ("stopping", "inactive"),
        ("inactive", "starting"),
        ("starting", "active"),
    ]


def job_body() -> dict[str, Any]:
    return {"name": "j", "steps": [{"name": "a", "run": "true"}]}


@drives("decisions/R31", "decisions/R32", "decisions/R33", "stop_runner/request/semantics")
def test_a_graceful_stop_waits_and_kills_when_its_time_is_over(rustci: RustCi, tmp_path: Path) -> None:
    runner, gate = rustci.register(), tmp_path / "gate"
    short = rustci.submit(runner, f"while [ ! -e {gate} ]; do sleep 0.01; done")
    rustci.running(runner, short)
    with ThreadPoolExecutor() as beside:
        patience = {"timeout": 60, "reason": "Maintenance"}
        stopping = beside.submit(rustci.ask, "POST", f"/{runner}/stop", json=patience)
        until(lambda: rustci.status(runner) == "stopping", "the beginning of the stop")
        gate.touch()
        stopping.result()
    assert rustci.job(runner, short)["status"] == "completed"
    assert any("Maintenance" in entry["message"] for entry in rustci.logs(runner))
    rustci.ask("POST", f"/{runner}/start")
    long = rustci.submit(runner, "sleep 1000")
    rustci.running(runner, long)
    rustci.ask("POST", f"/{runner}/stop", json={"graceful": True, "timeout": 1})
    assert rustci.job(runner, long)["status"] == "cancelled"


@drives("decisions/R32", "restart_runner/request/body_required")
def test_a_restart_answers_at_once_and_comes_back(rustci: RustCi) -> None:
    runner = rustci.register()
    job = rustci.submit(runner, "sleep 1000")
    rustci.running(runner, job)
    assert rustci.ask("POST", f"/{runner}/restart")["status"] == "restarting"
    until(lambda: rustci.status(runner) == "active", "the end of the restart")
    assert rustci.job(runner, job)["status"] == "cancelled"


@drives("decisions/R11", "decisions/R12", "decisions/R13", "list_runners/notes/*", "list_runners/query/tags")
def test_filters_find_all_tags_and_pages_say_whether_more_follow(rustci: RustCi) -> None:
    made = [rustci.register(tags=["page", word], type="kubernetes") for word in ("a", "b", "c")]
    page = rustci.ask("GET", "?tags=page&limit=2&type=kubernetes&status=active")
    assert ([one["id"] for one in page["runners"]], page["total_count"], page["has_more"]) == (made[:2], 3, True)
    last = rustci.ask("GET", "?tags=page&limit=2000&offset=2")
    assert ([one["id"] for one in last["runners"]], last["has_more"]) == (made[2:], False)
    assert rustci.ask("GET", "?tags=page,b")["total_count"] == 1
    assert rustci.ask("GET", "?tags=page,b,c")["total_count"] == 0


@drives("decisions/R14")
def test_metadata_are_kept_number_by_number(rustci: RustCi) -> None:
    body = json.dumps({**NEW, "metadata": {"a": 0}}).replace('"a": 0', '"a": 1.10, "big": 12345678901234567890')
    reply = rustci.http.post(f"{RUNNERS}/register", content=body)
    runner = reply.json()["runner_id"]
    rustci.ask("PUT", f"/{runner}", content='{"metadata": {"b": {"c": [1, null]}, "updated_at": "then"}}')
    text = rustci.http.get(f"{RUNNERS}/{runner}").text
    assert '"a":1.10,"big":12345678901234567890,"b":{"c": [1, null]},"updated_at":"then"' in text


@drives("decisions/R9", "decisions/R19", "decisions/R21")
def test_every_view_of_the_local_runner_is_measured(rustci: RustCi) -> None:
    (local,) = rustci.ask("GET", "?type=local")["runners"]
    assert local["resources"]["cpu_cores"] >= 1 and local["resources"]["memory_gb"] > 0
    status = rustci.ask("GET", f"/{local['id']}/status")
    assert 0 < status["current_load"]["memory_usage"] <= 100 and 0 < status["current_load"]["disk_usage"] <= 100
    health = rustci.ask("GET", f"/{local['id']}/health")
    assert set(health["checks"]) == {"connectivity", "disk_space", "memory"}
    assert health["checks"]["connectivity"]["response_time_ms"] > 0
    metrics = rustci.ask("GET", f"/{local['id']}/metrics?period=1h&resolution=1m")
    assert metrics["metrics"]["memory_usage"][0]["value"] == pytest.approx(metrics["summary"]["avg_memory_usage"], 10)
    assert metrics["summary"]["max_memory_usage"] > 0


@drives("decisions/R19", "runner_health/notes/0")
def test_a_docker_runner_without_a_daemon_is_degraded_and_says_why(rustci: RustCi) -> None:
    runner = rustci.register(type="docker", capabilities=["docker", "isolation"])
    health = rustci.ask("GET", f"/{runner}/health")
    docker = health["checks"]["docker_daemon"]
    if docker["status"] == "pass":
        pytest.skip("this machine has a docker daemon")
    assert (health["health"], set(docker)) == ("degraded", {"status", "message"})
    # Also of one that nobody has asked yet: the service's own worker was, when it began.
    fresh = rustci.ask("GET", f"/{rustci.register(type='docker', capabilities=['docker'])}/status")
    assert (fresh["health"], fresh["capabilities_status"]) == ("degraded", {"docker": "unavailable"})
    assert rustci.ask("GET", f"/{runner}/status")["capabilities_status"] == {
        "docker": "unavailable",
        "isolation": "available",
    }


@drives(
    "decisions/R38",
    "runner_logs/sse/when",
    "runner_logs/sse/content_type",
    "runner_logs/sse/event",
    "runner_logs/sse/id",
    "runner_logs/sse/data",
    "runner_logs/sse/backlog",
    "runner_logs/query/follow",
)
def test_a_log_stream_has_history_then_what_comes_and_resumes_behind_the_last_id(rustci: RustCi) -> None:
    runner = rustci.register()
    rustci.ended(runner, rustci.submit(runner, "echo first"))
    path = f"{RUNNERS}/{runner}/logs"
    with rustci.http.stream("GET", f"{path}?follow=true", headers={"Accept": "application/json"}) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert (reply.headers["cache-control"], reply.headers["x-accel-buffering"]) == ("no-cache", "no")
        history = events_of(reply, 5)
    assert [number for number, _, _ in history] == ["1", "2", "3", "4", "5"]
    assert {kind for _, kind, _ in history} == {"log"}
    assert history[3][2] == rustci.logs(runner)[3]
    with rustci.http.stream("GET", f"{path}?follow=1", headers={"Last-Event-ID": "4"}) as reply:
        job = rustci.submit(runner, "echo second; sleep 0.2; printf unfinished")
        resumed = events_of(reply, 6)
    assert [int(number) for number, _, _ in resumed] == [5, 6, 7, 8, 9, 10]
    assert [data["message"] for _, _, data in resumed[3:]] == ["second", "unfinished", f"Job completed: {job}"]
    with rustci.http.stream("GET", f"{path}?follow=true&level=error&limit=1") as reply:
        rustci.submit(runner, "echo loud >&2")
        (only,) = events_of(reply, 1)
    assert only[2]["message"] == "loud"


@drives("runner_logs/sse/backlog", "decisions/R38")
def test_a_log_stream_ends_with_its_runner(rustci: RustCi) -> None:
    runner = rustci.register()
    with rustci.http.stream("GET", f"{RUNNERS}/{runner}/logs?follow=true") as reply:
        lines = reply.iter_lines()
        assert "id: 1" in next(lines)
        rustci.ask("DELETE", f"/{runner}")
        rest = list(lines)
    assert "event: end" in rest and 'data: {"reason":"runner deleted"}' in rest


@drives("decisions/R24")
def test_the_log_of_one_job_is_asked_for_by_its_id_and_ends_with_it(rustci: RustCi) -> None:
    runner, other = rustci.register(), rustci.register()
    rustci.ended(runner, rustci.submit(runner, "echo first"))
    job = rustci.submit(runner, "echo second; echo loud >&2")
    path = f"/{runner}/jobs/{job}/logs"
    with rustci.http.stream("GET", f"{RUNNERS}{path}?follow=true&level=error") as reply:
        *events, end = events_of(reply, 99)
    assert [(kind, data["message"]) for _, kind, data in events] == [("log", "loud")]
    assert end[1:] == ("end", {"reason": "job ended"})
    answer = rustci.ask("GET", path)
    assert (answer["runner_id"], answer["job_id"]) == (runner, job)
    assert {entry["context"]["job_id"] for entry in answer["logs"]} == {job}
    assert {"second", "loud", f"Job completed: {job}"} <= {entry["message"] for entry in answer["logs"]}
    assert (answer["total_count"], answer["has_more"]) == (len(answer["logs"]), False)
    assert rustci.ask("GET", f"{path}?limit=1")["has_more"] is True
    for wrong in (f"/{other}/jobs/{job}/logs", f"/{runner}/jobs/job_1/logs", f"/{other}/jobs/{job}/logs?follow=1"):
        assert rustci.ask("GET", wrong, status=404)["error"]["code"] == "INVALID_REQUEST"


@drives(
    "decisions/R35", "decisions/R36", "runner_logs/query/since", "runner_logs/query/until", "runner_logs/query/level"
)
def test_times_bound_the_log_and_levels_are_exact(rustci: RustCi) -> None:
    runner = rustci.register()
    rustci.ended(runner, rustci.submit(runner, "echo a; sleep 0.01; echo b >&2"))
    entries = rustci.logs(runner)
    (error,) = rustci.logs(runner, level="error")
    assert error["message"] == "b"
    answer = rustci.ask("GET", f"/{runner}/logs?limit=2")
    assert (answer["total_count"], answer["has_more"], answer["logs"]) == (len(entries), True, entries[-2:])
    at = error["timestamp"]
    assert rustci.logs(runner, since=at)[0] == error
    assert error not in rustci.logs(runner, until=at)
    assert rustci.http.get(f"{RUNNERS}/{runner}/logs?since=2024-01-15T10:00:00+02:00").status_code == 200
    assert rustci.logs(runner, until="2024-01-15T10:00:00") == []


@drives("decisions/R39", "bulk/notes/0")
def test_a_bulk_operation_has_a_result_for_each(rustci: RustCi) -> None:
    made = [rustci.register(tags=["bulk"]) for _ in range(3)]
    rustci.ask("POST", f"/{made[1]}/stop")
    body = {"operation": "update_config", "filters": {"tags": ["bulk"]}, "data": {"job_timeout": 77}}
    answer = rustci.ask("POST", "/bulk", json=body)
    assert answer == {
        "success": True,
        "affected_runners": 3,
        "results": [{"runner_id": one, "success": True} for one in made],
    }
    assert rustci.ask("GET", f"/{made[2]}/config")["configuration"]["job_timeout"] == 77
    rustci.running(made[0], rustci.submit(made[0], "sleep 1000"))
    answer = rustci.ask("POST", "/bulk", json={"operation": "delete", "filters": {"tags": ["bulk"]}})
    assert (answer["success"], answer["affected_runners"]) == (False, 2)
    assert answer["results"][0]["error"]["code"] == "INVALID_REQUEST"
    nobody = rustci.ask("POST", "/bulk", json={"operation": "start", "filters": {"tags": ["none"]}})
    assert nobody == {"success": True, "affected_runners": 0, "results": []}
    rustci.ask("DELETE", f"/{made[0]}?force=1")
