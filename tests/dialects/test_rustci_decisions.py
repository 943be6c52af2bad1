"""What RustCI's document leaves open, as the contract decides it: defaults, words, what is merged."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from rustci_rows import drives
from rustci_server import CONTRACT, ENDPOINTS, NEW, RUNNERS, RustCi
from sct_server import until

from gateway.options import GatewayOptions

EXAMPLE = ENDPOINTS["rustci.get_config"]["success"]["example"]["body"]["configuration"]


def query_of(endpoint: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = ENDPOINTS[f"rustci.{endpoint}"]["query"]
    return found


def words_of(kind: str) -> list[str]:
    assert kind.startswith("enum(")
    return kind[5:-1].split(",")


CHOICES = [
    pytest.param(endpoint, name, word, id=f"{endpoint} {name}={word}")
    for endpoint in ("list_runners", "list_jobs", "runner_metrics", "runner_logs")
    for name, parameter in query_of(endpoint).items()
    if parameter["type"].startswith("enum")
    for word in words_of(parameter["type"])
]


@drives("list_runners/query/status", "list_runners/query/type", "list_jobs/query/status", "runner_logs/query/level")
@drives("runner_metrics/query/*", "decisions/R3")
@pytest.mark.parametrize(("endpoint", "name", "word"), CHOICES)
def test_every_documented_word_of_a_filter_is_taken(
    rustci: RustCi, crowded: str, endpoint: str, name: str, word: str
) -> None:
    path = ENDPOINTS[f"rustci.{endpoint}"]["path"].format(runner_id=crowded)
    reply = rustci.http.get(path, params={name: word})
    assert reply.status_code == 200, reply.text
    answer = reply.json()
    if endpoint == "runner_metrics":
        assert answer[name] == word
    elif endpoint == "runner_logs":
        assert {entry["level"] for entry in answer["logs"]} <= {word}
    else:
        listed = answer["runners" if endpoint == "list_runners" else "jobs"]
        assert {each[name] for each in listed} <= {word}


@pytest.fixture(scope="module")
def crowded(rustci: RustCi) -> str:
    """A stopped runner with more jobs than a page has, more log entries than that has, and namesakes."""
    for _ in range(51):
        runner = rustci.register(tags=["crowd"], metadata={"max_concurrent_jobs": 1})
    first = rustci.submit(runner, "seq 101; sleep 1000")
    rustci.running(runner, first)
    until(lambda: "101" in [entry["message"] for entry in rustci.logs(runner, limit="1000")], "all that it writes")
    for _ in range(50):
        rustci.submit(runner, "true")
    rustci.ask("POST", f"/{runner}/stop")
    return runner


@drives("list_runners/query/limit", "list_runners/query/offset", "list_jobs/query/limit", "list_jobs/query/offset")
@drives("runner_logs/query/limit", "list_jobs/notes/0", "decisions/R12", "decisions/R13", "decisions/R27")
@drives("decisions/R37")
def test_pages_are_as_long_as_said_when_nothing_is_asked_for(rustci: RustCi, crowded: str) -> None:
    for endpoint, path, member in (
        ("list_runners", "?tags=crowd", "runners"),
        ("list_jobs", f"/{crowded}/jobs?", "jobs"),
        ("runner_logs", f"/{crowded}/logs?", "logs"),
    ):
        default = query_of(endpoint)["limit"]["default"]
        page = rustci.ask("GET", path)
        total = page["total_count"]
        assert len(page[member]) == default < total
        assert ("has_more" in page) == (endpoint != "list_jobs")
        assert page.get("has_more", True) is True
        everything = rustci.ask("GET", f"{path}&limit=99999")[member]
        assert len(everything) == total
        if endpoint != "runner_logs":
            assert query_of(endpoint)["offset"]["default"] == 0
            assert everything[:default] == page[member]
            assert rustci.ask("GET", f"{path}&offset={total}")[member] == []


@drives("*/request/body_required")
@pytest.mark.parametrize("name", [name for name, each in ENDPOINTS.items() if "request" in each])
def test_a_body_is_asked_for_where_one_is_required(rustci: RustCi, name: str) -> None:
    endpoint = ENDPOINTS[name]
    path = endpoint["path"].format(runner_id=rustci.register())
    reply = rustci.http.request(endpoint["method"], path)
    assert "content-length" not in reply.request.headers or reply.request.headers["content-length"] == "0"
    assert reply.status_code == (400 if endpoint["request"]["body_required"] else endpoint["success"]["status"])


@drives("register_runner/notes/*", "decisions/R2", "decisions/R4", "decisions/R5", "decisions/R16")
def test_a_registration_has_the_defaults_that_are_decided(rustci: RustCi) -> None:
    answers = [rustci.ask("POST", "/register", json=NEW, status=201) for _ in range(2)]
    assert len({answer["runner_id"] for answer in answers}) == 2
    assert len({answer["registration_token"] for answer in answers}) == 2
    runner = rustci.ask("GET", f"/{answers[0]['runner_id']}")
    assert (runner["status"], runner["capabilities"], runner["tags"]) == ("active", [], [])
    assert set(runner["metadata"]) == {"registered_at", "last_seen"}
    assert runner["resources"] == {"cpu_cores": 0, "memory_gb": 0, "disk_gb": 0}
    assert answers[0]["registration_token"] not in json.dumps(runner)


@drives("get_config/notes/0", "decisions/R16")
def test_a_fresh_configuration_is_that_of_the_example(rustci: RustCi) -> None:
    docker = rustci.register(type="docker")
    assert rustci.ask("GET", f"/{docker}/config")["configuration"] == EXAMPLE
    native = rustci.register(metadata={"max_concurrent_jobs": 9})
    without = {name: value for name, value in EXAMPLE.items() if name != "docker_config"}
    assert rustci.ask("GET", f"/{native}/config")["configuration"] == without | {"max_concurrent_jobs": 9}
    rustci.ask("PUT", f"/{native}", json={"metadata": {"max_concurrent_jobs": 4}})
    assert rustci.ask("GET", f"/{native}/config")["configuration"]["max_concurrent_jobs"] == 4
    rustci.ask("PUT", f"/{native}", json={"metadata": {"max_concurrent_jobs": "many"}})
    assert rustci.ask("GET", f"/{native}/config")["configuration"]["max_concurrent_jobs"] == 4


@drives("update_config/request/semantics", "update_config/success/fixed_note")
@drives("decisions/R28", "decisions/R29", "decisions/R30")
def test_a_configuration_is_merged_deeply_and_lists_are_replaced(rustci: RustCi) -> None:
    runner = rustci.register(type="docker")
    wanted = json.loads(json.dumps(EXAMPLE))

    def put(changes: dict[str, Any]) -> None:
        # True "only when docker_config changed": here that holds for the next job too.
        assert rustci.ask("PUT", f"/{runner}/config", json=changes)["restart_required"] is False

    put({"resource_limits": {"cpu_limit": "4000m"}})
    wanted["resource_limits"]["cpu_limit"] = "4000m"
    put({"docker_config": {"volumes": ["/a:/b"]}})
    wanted["docker_config"]["volumes"] = ["/a:/b"]
    put({"docker_config": {"volumes": ["/a:/b"]}})
    for policy in words_of(ENDPOINTS["rustci.get_config"]["success"]["required"]["configuration.cleanup_policy"]):
        put({"cleanup_policy": policy})
        wanted["cleanup_policy"] = policy
        assert rustci.ask("GET", f"/{runner}/config")["configuration"] == wanted
    before = rustci.ask("GET", f"/{runner}/config")
    put({})
    assert rustci.ask("GET", f"/{runner}/config")["configuration"] == before["configuration"]


@drives("update_runner/request/semantics", "decisions/R14", "decisions/R15")
def test_a_runner_is_patched(rustci: RustCi) -> None:
    runner = rustci.register(
        tags=["a"], capabilities=["c"], metadata={"keep": 1, "drop": 2}, resources={"cpu_cores": 4}
    )
    before = rustci.ask("GET", f"/{runner}")
    mine = {"drop": None, "updated_at": "then", "registered_at": "never", "last_seen": "never"}
    changes = {"tags": ["b", "c"], "host": "elsewhere", "metadata": mine, "resources": {"memory_gb": 1.5}, "nope": 1}
    rustci.ask("PUT", f"/{runner}", json=changes)
    after = rustci.ask("GET", f"/{runner}")
    assert (after["name"], after["port"], after["capabilities"]) == (before["name"], before["port"], ["c"])
    assert (after["tags"], after["host"]) == (["b", "c"], "elsewhere")
    assert after["resources"] == {"cpu_cores": 4, "memory_gb": 1.5, "disk_gb": 0}
    registered, seen = after["metadata"].pop("registered_at"), after["metadata"].pop("last_seen")
    assert registered == before["metadata"]["registered_at"] and seen != "never"
    assert after["metadata"] == {"keep": 1, "updated_at": "then"}


@drives("delete_runner/query/force", "decisions/R18")
@pytest.mark.parametrize("query", ["?force=true", "?force=1", "?force=YES", "?force"])
def test_force_has_these_words(rustci: RustCi, query: str) -> None:
    runner = rustci.register(metadata={"max_concurrent_jobs": 1})
    rustci.running(runner, rustci.submit(runner, "sleep 1000"))
    for no in ("", "?force=false", "?force=0", "?force=No"):
        rustci.ask("DELETE", f"/{runner}{no}", status=409)
    rustci.ask("DELETE", f"/{runner}{query}")


@drives("submit_job/request/defaults_proposed", "list_jobs/notes/1", "decisions/R23", "decisions/R26")
def test_a_job_is_given_what_it_leaves_open_and_an_honest_estimate(rustci: RustCi) -> None:
    runner = rustci.register(metadata={"max_concurrent_jobs": 2})
    body = {"name": "j", "steps": [{"name": "a", "run": "sleep 1000"}]}
    waits = [
        seconds_from_now(rustci.ask("POST", f"/{runner}/jobs", json=body, status=201)["estimated_start_time"])
        for _ in range(5)
    ]
    # Two slots, then a minute for each two that wait, as long as nothing has ended.
    assert [round(wait / 60) for wait in waits] == [0, 0, 1, 1, 2]
    rustci.ask("DELETE", f"/{runner}?force=1")
    runner = rustci.register()
    rustci.ask("PUT", f"/{runner}/config", json={"job_timeout": 1})
    ended = rustci.ended(runner, rustci.ask("POST", f"/{runner}/jobs", json=body, status=201)["job_id"])
    assert ended["status"] == "timed_out" and ended["duration"] >= 1, "the timeout of the configuration, and no retry"
    took = datetime.fromisoformat(ended["completed_at"]) - datetime.fromisoformat(ended["started_at"])
    assert ended["duration"] == int(took.total_seconds()) and isinstance(ended["duration"], int)
    rustci.ask("DELETE", f"/{runner}?force=1")


def seconds_from_now(text: str) -> float:
    return (datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds()


@drives("decisions/R25")
def test_a_job_has_a_folder_of_its_own_and_little_else(rustci: RustCi) -> None:
    runner = rustci.register()
    script = r"pwd; ls -A | wc -l; env -0 | tr '\0' '\n' | cut -d= -f1 | tr '\n' ' '"
    jobs = [rustci.submit(runner, script, environment={"WORD": "x"}) for _ in range(2)]
    said = []
    for job in jobs:
        rustci.ended(runner, job)
        logs = rustci.ask("GET", f"/{runner}/jobs/{job}/logs?level=info")["logs"]
        folder, files, names = [entry["message"] for entry in logs if not entry["message"].startswith("Job ")]
        assert files == "0" and "WORD" in names.split() and len(names.split()) < 20
        said.append(folder)
    assert said[0] != said[1]


@drives("decisions/R21", "decisions/R22")
def test_a_period_without_measures_has_no_points(rustci: RustCi) -> None:
    (local,) = rustci.ask("GET", "?type=local")["runners"]
    default = rustci.ask("GET", f"/{local['id']}/metrics")
    assert (default["period"], default["resolution"]) == ("24h", "5m")
    month = rustci.ask("GET", f"/{local['id']}/metrics?period=30d&resolution=1m")
    assert 0 < len(month["metrics"]["cpu_usage"]) < 60, "of the age of the server"
    for point in month["metrics"]["memory_usage"]:
        assert datetime.fromisoformat(point["timestamp"]).second == 0


@drives("bulk/request/semantics", "decisions/R39")
def test_filters_of_a_bulk_operation_must_all_hold(rustci: RustCi) -> None:
    both = rustci.register(type="docker", tags=["x", "y"])
    rustci.register(type="docker", tags=["x"])
    rustci.register(type="native", tags=["x", "y"])
    filters = {"type": "docker", "tags": ["y", "x"], "status": "active"}
    body = {"operation": "update_config", "filters": filters, "data": {"job_timeout": 5}}
    answer = rustci.ask("POST", "/bulk", json=body)
    assert [result["runner_id"] for result in answer["results"]] == [both]
    rustci.ask("POST", "/bulk", json={**body, "data": {"nope": 1}}, status=400)
    nobody = rustci.ask("POST", "/bulk", json={**body, "filters": {**filters, "status": "error"}})
    assert nobody == {"success": True, "affected_runners": 0, "results": []}
    everything = rustci.ask("POST", "/bulk", json={"operation": "start", "filters": {}})
    assert everything["affected_runners"] == rustci.ask("GET", "?limit=1")["total_count"]


@drives("decisions/R19", "runner_health/notes/0")
@pytest.mark.parametrize(
    ("kind", "extra"), [("docker", {"docker_daemon"}), ("kubernetes", {"kubernetes_api"}), ("native", set())]
)
def test_a_runner_is_checked_for_what_its_type_needs(rustci: RustCi, kind: str, extra: set[str]) -> None:
    health = rustci.ask("GET", f"/{rustci.register(type=kind)}/health")
    assert set(health["checks"]) == {"connectivity", "disk_space", "memory"} | extra
    for name in extra:
        check = health["checks"][name]
        assert set(check) == ({"status", "version"} if check["status"] == "pass" else {"status", "message"})
    failed = any(check["status"] == "fail" for check in health["checks"].values())
    assert health["health"] == ("degraded" if failed else "healthy")


@drives("collisions/*", "ws_runners/notes/0")
def test_words_of_paths_are_no_ids(rustci: RustCi) -> None:
    for row in CONTRACT["collisions"]:
        if "want_code" in row:
            method, path = row["request"].split()
            reply = rustci.http.request(method, path)
            assert (reply.status_code, reply.json()["error"]["code"]) == (row["want_status"], row["want_code"])
    assert rustci.http.get(f"{RUNNERS}/ws").status_code == 426
    assert rustci.ask("POST", "/bulk", json={}, status=400)["error"]["details"]["field"] == "operation"


@drives("runner_logs/sse/keepalive")
def test_a_silent_stream_is_kept_alive_every_15_seconds() -> None:
    """That it is, tests/gateway/test_streams.py shows with a shorter time."""
    assert f"every {GatewayOptions().keepalive_seconds:g} s" in ENDPOINTS["rustci.runner_logs"]["sse"]["keepalive"]
