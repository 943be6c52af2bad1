"""RustCI's documented limits, credentials and roles, and what it says when something breaks inside."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import httpx
import pytest
from rustci_rows import drives
from rustci_server import CONTRACT, NEW, RUNNERS, RustCi
from sct_server import SctServer
from websockets.sync.client import connect

from runner.dialects.rustci.v1 import runner_service_pb2 as pb
from runner.dialects.rustci.v1 import runner_service_pb2_grpc as rustci

JOB: dict[str, Any] = {"name": "j", "steps": [{"name": "a", "run": "true"}]}


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SctServer]:
    """With the documented limits, credentials asked for, and nobody who executes."""
    roles = ("viewer", "operator", "admin")
    config = {
        "executor": {"local_runner": False},
        "rustci": {"require_auth": True},
        "security": {"api_keys": [{"key": f"{role}-key", "name": role, "role": role} for role in roles]},
    }
    server = SctServer(tmp_path_factory.mktemp("strict"), config)
    server.start()
    yield server
    server.stop()


@drives(
    "*/errors/429",
    "*/rate_limit",
    "rate_limits/*",
    "runner_health/notes/1",
    "decisions/R20",
    "decisions/R40",
    "decisions/R42",
    "decisions/R43",
)
def test_documented_limits_hold_and_are_told_on_every_answer(strict: SctServer) -> None:
    # From an address of its own: registrations are counted by that.
    transport = httpx.HTTPTransport(local_address="127.0.0.2")
    client = RustCi(strict, headers={"X-API-Key": "admin-key"}, transport=transport)
    registration, looking, submission, bulk = (
        LIMITS["buckets"][name]["limit"] for name in ("registration", "status_health", "job_submission", "bulk")
    )
    try:
        replies = calls(client, registration, lambda n: ("POST", "/register", NEW if n % 2 else {}))
        assert {reply.status_code for reply in replies[:-1]} == {400, 201}
        runner = replies[1].json()["runner_id"]
        looks = calls(client, looking, lambda n: ("GET", f"/{runner}/{('status', 'health')[n % 10 == 0]}", None))
        assert {reply.status_code for reply in looks[:-1]} == {200}
        # Nobody executes for it here.
        assert looks[0].json()["health"] == "unhealthy"
        assert looks[0].json()["checks"]["connectivity"]["status"] == "fail"
        other = client.http.get(f"{RUNNERS}/runner_123/status")
        assert (other.status_code, other.headers["x-ratelimit-remaining"]) == (404, str(looking - 1))
        jobs = calls(client, submission, lambda n: ("POST", f"/{runner}/jobs", JOB if n % 2 else {}))
        assert {reply.status_code for reply in jobs[:-1]} == {400, 201}
        # Nor is what bulk does counted with what it is done to.
        operation = {"operation": "update_config", "filters": {}, "data": {"job_timeout": 9}}
        done = calls(client, bulk, lambda n: ("POST", "/bulk", operation if n % 2 else {}))
        assert {reply.status_code for reply in done[:-1]} == {400, 200}
        unlimited = client.http.get(RUNNERS)
        assert not [name for name in LIMITS["header_names_seed"] if name in unlimited.headers]
    finally:
        client.http.close()


def test_however_a_call_is_spelled_it_counts_in_the_bucket_of_its_runner(strict: SctServer) -> None:
    client = RustCi(strict, headers={"X-API-Key": "admin-key"})
    path, rpc = f"{RUNNERS}/runner_1", f"/{pb.DESCRIPTOR.package}.RunnerService"
    by_grpc = pb.GetRunnerStatusRequest(runner_id="runner_1")
    try:
        left = [
            client.http.get(f"{path}/status"),
            client.http.post(f"{rpc}/GetRunnerStatus", json={"runner_id": "runner_1"}),
            client.http.post(f"{rpc}/CheckRunnerHealth", json={"runnerId": "runner_1"}),
            client.http.head(f"{path}/health"),
        ]
        with grpc.insecure_channel(strict.grpc) as channel, pytest.raises(grpc.RpcError):
            rustci.RunnerServiceStub(channel).GetRunnerStatus(by_grpc, metadata=[("x-api-key", "admin-key")])
        left.append(client.http.get(f"{RUNNERS}/runner%5F1/%73tatus"))
    finally:
        client.http.close()
    assert {reply.status_code for reply in left} == {404}
    limit: int = LIMITS["buckets"]["status_health"]["limit"]
    gone = [limit - int(reply.headers["x-ratelimit-remaining"]) for reply in left]
    assert gone == [1, 2, 3, 4, 6]


LIMITS: dict[str, Any] = CONTRACT["rate_limits"]


def calls(client: RustCi, limit: int, nth: Callable[[int], tuple[str, str, Any]]) -> list[httpx.Response]:
    """As many calls as are allowed, and the one that is refused; checks what is told of the bucket."""
    replies, times = [], [time.time()]
    for number in range(limit + 1):
        method, path, body = nth(number)
        replies.append(client.http.request(method, f"{RUNNERS}{path}", **({} if body is None else {"json": body})))
        times.append(time.time())
    told = [[reply.headers[name] for name in LIMITS["header_names_seed"]] for reply in replies]
    assert set(LIMITS["header_example_seed"]) == set(LIMITS["header_names_seed"])
    # A window that began with the first call.
    assert [[limit, left, reset] for limit, left, reset in told] == [
        [str(limit), str(max(0, limit - 1 - number)), told[0][2]] for number in range(limit + 1)
    ]
    # In whole seconds, rounded up, since some moment of that call.
    assert times[0] + 60 <= int(told[0][2]) <= times[1] + 61
    refused, said = replies[-1], LIMITS["on_exceeded"]
    assert refused.status_code == said["status"]
    answer, wanted = refused.json(), json.loads(json.dumps(said["body"]).replace(" 10 ", f" {limit} "))
    wanted["error"]["details"] |= {
        "limit": limit,
        "timestamp": answer["error"]["details"]["timestamp"],
        "retry_after_seconds": int(refused.headers[said["extra_header"]["name"]]),
    }
    assert answer == wanted
    assert 0 < wanted["error"]["details"]["retry_after_seconds"] <= 60
    return replies


@drives("*/auth", "auth", "register_runner/errors/401", "decisions/R6", "decisions/R7")
def test_with_auth_on_roles_are_asked_for_everywhere_but_on_the_websocket(strict: SctServer) -> None:
    client = RustCi(strict)
    try:
        for headers in ({}, {"X-API-Key": "your-api-key"}, {"Authorization": "Bearer nonsense"}):
            error = client.ask("GET", headers=headers, status=401)["error"]
            assert error["code"] == "AUTHENTICATION_REQUIRED"
        assert "total_count" in client.ask("GET", headers={"X-API-Key": "viewer-key"})
        error = client.ask("POST", "/register", json=NEW, headers={"X-API-Key": "operator-key"}, status=403)["error"]
        assert error["code"] == "AUTHORIZATION_FAILED"
        admin = {"Authorization": "Bearer nonsense", "X-API-Key": "admin-key"}
        runner = client.ask("POST", "/register", json=NEW, headers=admin, status=201)["runner_id"]
        user = {"X-API-Key": "operator-key"}
        client.ask("POST", f"/{runner}/jobs", json=JOB, headers=user, status=201)
        client.ask("POST", f"/{runner}/stop", headers=user, status=403)
        with connect(client.server.url.replace("http", "ws") + f"{RUNNERS}/ws", proxy=None, open_timeout=60):
            pass
        assert client.http.get("/health").status_code == 200
    finally:
        client.http.close()


@drives("error_format/codes_seed", "decisions/R44")
def test_what_breaks_inside_is_an_internal_error_and_says_nothing_of_how(strict: SctServer) -> None:
    client = RustCi(strict, headers={"X-API-Key": "admin-key"})
    database = sqlite3.connect(strict.data / "runner.db")
    try:
        runner = client.ask("POST", "/register", json=NEW, status=201)["runner_id"]
        database.execute("ALTER TABLE runner_samples RENAME TO away")
        try:
            error = client.ask("GET", f"/{runner}/metrics", status=500)["error"]
        finally:
            database.execute("ALTER TABLE away RENAME TO runner_samples")
        assert (error["code"], error["message"]) == ("INTERNAL_ERROR", "Internal server error")
        assert set(error["details"]) == {"timestamp"}
        client.ask("GET", f"/{runner}/metrics")
    finally:
        database.close()
        client.http.close()
