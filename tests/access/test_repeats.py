"""Every mutation can be repeated: the same request id gets the same answer, and nothing happens a second time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from access_app import Served
from google.protobuf import descriptor_pool

from runner_service.rpc.access import read_rules
from runner_service.rpc.repeats import OF_THEIR_OWN, Repeats

NATIVE = [
    f"runner.v1.{name}Service"
    for name in ("Agent", "AgentReport", "Artifact", "Auth", "Command", "Image", "Job", "Queue", "Runner", "Secret")
]
WITHOUT = {
    "/runner.v1.AgentService/ChatAgent",  # a conversation: its messages have places
    "/runner.v1.CommandService/ExecCommand",  # its `start` is a RunCommand, its input has places
    "/runner.v1.RunnerService/RejoinRunner",  # what it answers is the same until it is used
}


def test_every_native_rpc_that_changes_something_can_be_repeated() -> None:
    rules = read_rules(NATIVE)
    covered = Repeats(answers=None, rules=rules).methods | OF_THEIR_OWN  # type: ignore[arg-type]
    changing = {method for method, rule in rules.items() if rule.audited and method.startswith("/runner.v1.")}
    assert changing - covered - WITHOUT == set()
    assert "/runner.v1.AgentReportService/CreateAgentReport" in covered  # which is not audited
    for method in covered:
        service, name = method[1:].split("/")
        asked = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name].input_type
        assert "request_id" in asked.fields_by_name, method


def forget(served: Served) -> None:
    """As if the server had died after it had carried out everything, and before it could note any answer."""
    connection = sqlite3.connect(served.data_dir / "runner.db")
    with connection:
        assert connection.execute("UPDATE answers SET told = 0, answer = x''").rowcount
    connection.close()


Post = Callable[..., Any]


@pytest.fixture
async def admin(served: Served) -> Any:
    async with served.rest("admin-key") as client:
        yield client


async def said(client: httpx.AsyncClient, path: str, request_id: str, **body: Any) -> Any:
    reply = await client.post(f"/api/v2{path}", json={**body, "requestId": request_id})
    return reply.raise_for_status().json()


async def test_a_cancel_is_answered_as_it_was(served: Served, admin: httpx.AsyncClient) -> None:
    command = (await admin.post("/api/v2/commands", json={"argv": ["true"]})).json()["command"]["jobId"]
    first = await said(admin, f"/commands/{command}:cancel", "c1", reason="enough")
    assert first["command"]["state"] == "STATE_CANCELLED"
    assert await said(admin, f"/commands/{command}:cancel", "c1", reason="enough") == first
    forget(served)
    assert await said(admin, f"/commands/{command}:cancel", "c1", reason="enough") == first
    job = await said(admin, f"/jobs/{command}:cancel", "c1")  # ids are of one RPC each
    assert job["job"]["cancel"]["reason"] == "enough"
    finished = await admin.post(f"/api/v2/jobs/{command}:cancel", json={})
    assert finished.json()["details"][0]["reason"] == "JOB_FINISHED"
    other = await admin.post(f"/api/v2/commands/{command}:cancel", json={"requestId": "c1", "reason": "else"})
    assert (other.status_code, other.json()["details"][0]["reason"]) == (409, "REQUEST_ID_REUSED")


async def test_a_push_and_a_pop_happen_once(served: Served, admin: httpx.AsyncClient) -> None:
    pushed = [await said(admin, "/queues/lab/jobs", f"push-{number}", definition={}) for number in (1, 2)]
    popped = await said(admin, "/queues:pop", "pop-1", queues=["lab"], agent="a")
    for _ in range(2):
        assert await said(admin, "/queues:pop", "pop-1", queues=["lab"], agent="a") == popped
        again = await said(admin, "/queues/lab/jobs", "push-2", definition={})
        assert again["queueJob"]["job"]["jobId"] == pushed[1]["queueJob"]["job"]["jobId"]
        forget(served)
    assert (await said(admin, "/queues:pop", "pop-2", queues=["lab"]))["queueJob"]["job"]["jobId"] == (
        pushed[1]["queueJob"]["job"]["jobId"]
    )
    assert (await said(admin, "/queues:pop", "pop-3", queues=["lab"])).get("queueJob") is None


async def test_input_is_given_once(served: Served, admin: httpx.AsyncClient) -> None:
    body = {"argv": ["cat"], "stdin": "STDIN_PIPE"}
    command = (await admin.post("/api/v2/commands", json=body)).json()["command"]["jobId"]
    given = {"records": [{"data": "aGVsbG8="}]}
    for _ in range(2):
        status = (await said(admin, f"/jobs/{command}/input", "i1", **given))["status"]
        assert status["nextOffset"] == "5"
        forget(served)
    assert (await said(admin, f"/jobs/{command}/input", "i2", **given))["status"]["nextOffset"] == "10"


async def test_a_key_that_was_made_is_told_again_and_kept_nowhere(served: Served, admin: httpx.AsyncClient) -> None:
    made = await said(admin, "/auth/keys", "k1", name="ci", role="ROLE_VIEWER")
    assert await said(admin, "/auth/keys", "k1", name="ci", role="ROLE_VIEWER") == made
    connection = sqlite3.connect(served.data_dir / "runner.db")
    assert made["key"].split("_", 2)[2] not in "\n".join(connection.iterdump())
    connection.close()
    async with served.rest(made["key"]) as client:
        assert (await client.get("/api/v2/auth/whoami")).json()["name"] == "ci"
    other = await admin.post("/api/v2/auth/keys", json={"requestId": "k1", "name": "ci", "role": "ROLE_ADMIN"})
    assert other.json()["details"][0]["reason"] == "REQUEST_ID_REUSED"


async def test_a_registration_is_told_again(served: Served, admin: httpx.AsyncClient) -> None:
    made = await said(admin, "/runners", "g1", name="machine", slots=1)
    again = await said(admin, "/runners", "g1", name="machine", slots=1)
    assert (again["credential"], again["runner"]["runnerId"]) == (made["credential"], made["runner"]["runnerId"])
    assert (await said(admin, "/runners", "g2", name="machine", slots=1))["credential"] != made["credential"]


async def test_a_report_is_filed_once(served: Served, admin: httpx.AsyncClient) -> None:
    report = {"agentId": "a", "topic": "t", "status": "STATUS_RUNNING"}
    first = await said(admin, "/agent-reports", "p1", **report)
    for _ in range(2):
        assert await said(admin, "/agent-reports", "p1", **report) == first
        forget(served)


async def test_a_delete_is_answered_again(served: Served, admin: httpx.AsyncClient) -> None:
    (await admin.put("/api/v2/secrets/s", json={"value": "dmFsdWUtb2YtaXQ="})).raise_for_status()
    for _ in range(2):
        assert (await admin.delete("/api/v2/secrets/s", params={"requestId": "d1"})).status_code == 200
        forget(served)
    assert (await admin.delete("/api/v2/secrets/s", params={"requestId": "d1"})).json() == {}
    assert (await admin.delete("/api/v2/secrets/s")).status_code == 404
