"""Every documented endpoint of KubeAgents: status, members, types and errors, from the contract (seed 001)."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from contract_shapes import check_shape
from google.api import annotations_pb2
from kubeagents_house import AGENTS, CONTRACT, START, WEBHOOK, KubeAgents
from sct_server import ROOT

from runner.dialects.common.v1 import health_service_pb2
from runner.dialects.kubeagents.v1 import agent_service_pb2
from runner_service.domain.errors import StorageFull

SHARED = ROOT.parent / "shared" / "contract" / "rest_contract.yaml"
REPORTED = {"success": True, "message": "Status reported successfully"}
GETS = [name for name, endpoint in CONTRACT.items() if endpoint["method"] == "GET" and name != "health"]


def test_the_facts_are_those_of_the_contract() -> None:
    if not SHARED.exists():
        pytest.skip("the documents are not beside this checkout")
    found = {each["id"]: each for each in yaml.safe_load(SHARED.read_text())["endpoints"] if each["seed"] == "001"}
    assert set(found) == {f"kubeagents.{name}" for name in CONTRACT}
    for name, ours in CONTRACT.items():
        theirs = found[f"kubeagents.{name}"]
        assert (ours["method"], ours["path"]) == (theirs["method"], theirs["path"])
        for part in ("required", "optional"):
            assert ours["success"].get(part) == theirs["success"].get(part)
        assert ours["success"]["example"] == theirs["success"]["example"]["body"]
        assert [error["when"] for error in ours["errors"]] == [error["when"] for error in theirs.get("errors", [])]


def test_the_documented_endpoints_are_served_and_none_is_extra() -> None:
    served = set()
    for file in (agent_service_pb2, health_service_pb2):
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                rule = method.GetOptions().Extensions[annotations_pb2.http]
                verb = rule.WhichOneof("pattern")
                served.add((verb.upper(), getattr(rule, verb)))
    assert served == {(each["method"], each["path"]) for each in CONTRACT.values()}


# success


async def _play(kube: KubeAgents) -> None:
    """The two documented reports, an hour apart."""
    for body in CONTRACT["webhook_status"]["request"]["examples"]:
        reply = await kube.http.post(WEBHOOK, json=body)
        assert (reply.status_code, reply.json()) == (200, REPORTED)
        kube.clock.advance(3600)


@pytest.mark.parametrize("name", ["health", *GETS])
async def test_every_answer_has_its_documented_members(kube: KubeAgents, name: str) -> None:
    await _play(kube)
    endpoint = CONTRACT[name]
    path = endpoint["path"].format(agent_id="agent-001", session_topic="task-001")
    reply = await kube.http.get(path)
    assert reply.status_code == endpoint["success"]["status"]
    body = reply.json()
    check_shape(body, endpoint["success"]["required"], endpoint["success"].get("optional"))
    if name == "health":
        return
    # The documented example, but for the times of the service's own clock and the content of the second report.
    assert _told(body) == _told(endpoint["success"]["example"])


def _told(value: Any) -> Any:
    own = {"registered", "last_seen", "created", "last_updated", "content", "ttl_minutes", "expired", "expired_at"}
    if isinstance(value, dict):
        return {name: _told(each) for name, each in value.items() if name not in own | {"active_session_count"}}
    return [_told(each) for each in value] if isinstance(value, list) else value


async def test_an_empty_store_lists_nothing(kube: KubeAgents) -> None:
    assert await kube.get("") == {"agents": []}
    assert await kube.get("/") == {"agents": []}


async def test_times_are_of_this_service_but_for_the_reported_ones(kube: KubeAgents) -> None:
    await kube.report(timestamp="2026-01-11T01:54:28.123456789+02:00", ttl_minutes=60)
    kube.clock.advance(60)
    await kube.report(timestamp="2026-01-10T00:00:00Z", status="success", agent_name="Ann")
    agent = await kube.get("/agent-001")
    assert (agent["registered"], agent["last_seen"]) == (START, "2023-11-14T22:14:20Z")
    assert (agent["name"], agent["latest_status"]) == ("Ann", "running")
    assert "source" not in agent and "latest_message" not in agent
    session = await kube.get("/agent-001/sessions/task-001")
    assert session["session"] == {
        "agent_id": "agent-001",
        "session_topic": "task-001",
        "created": START,
        "last_updated": "2023-11-14T22:14:20Z",
        "expired": False,
        "ttl_minutes": 60,
    }
    assert [one["timestamp"] for one in session["status_history"]] == [
        "2026-01-10T23:54:28.123456789Z",
        "2026-01-10T00:00:00Z",
    ]


# errors


@pytest.mark.parametrize(
    "error", CONTRACT["webhook_status"]["errors"], ids=lambda error: error["when"].replace("/", " or ")
)
async def test_every_documented_error_of_a_report(kube: KubeAgents, error: dict[str, Any]) -> None:
    broken: dict[str, list[Any]] = {
        "agent_id missing/empty": [{"agent_id": None}, {"agent_id": ""}],
        "session_topic missing/empty": [{"topic": None}, {"topic": ""}],
        "status missing or other": [{"status": None}, {"status": "done"}, {"status": "Running"}],
        "timestamp missing/empty": [{"timestamp": None}, {"timestamp": ""}],
        "ttl_minutes <0 or >1440": [{"ttl_minutes": -1}, {"ttl_minutes": 1441}],
    }
    if error["status"] == 405:
        reply = await kube.http.put(WEBHOOK, json={})
        assert reply.status_code == 405 and reply.headers["allow"] == "OPTIONS, POST"
        assert reply.json()["error"] == "bad_request"
        return
    if "message_prefix" in error:
        for content in (
            b"",
            b"nonsense",
            b"[]",
            b'"text"',
            b"{",
            *(
                json.dumps({"agent_id": "a", "session_topic": "t", "status": "running", "timestamp": START} | wrong)
                for wrong in (
                    {"agent_id": 5},
                    {"ttl_minutes": "5"},
                    {"ttl_minutes": 1.5},
                    {"message": {}},
                    {"timestamp": "yesterday"},
                    {"timestamp": "2026-02-30T00:00:00Z"},
                    {"timestamp": "2026-01-11 00:54:28Z"},
                    {"timestamp": "2026-01-11T00:54:28"},
                    {"timestamp": 1768092868},
                )
            ),
        ):
            reply = await kube.http.post(WEBHOOK, content=content)
            assert reply.status_code == 400, content
            assert reply.json()["error"] == "bad_request"
            assert reply.json()["message"].startswith(error["message_prefix"]), reply.text
        return
    for members in broken[error["when"]]:
        members = {"topic" if name == "topic" else name: value for name, value in members.items()}
        reply = await kube.report(**members)
        assert (reply.status_code, reply.json()) == (error["status"], error["body"])
    assert await kube.get("") == {"agents": []}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"agent_id": "x" * 101}, "agent_id must be 1-100 characters"),
        ({"agent_name": "x" * 201}, "agent_name must be 0-200 characters"),
        ({"agent_source": "x" * 201}, "agent_source must be 0-200 characters"),
        ({"topic": "x" * 501}, "session_topic must be 1-500 characters"),
        ({"message": "x" * 1001}, "message must be 0-1000 characters"),
        ({"content": "x" * 10001}, "content must be 0-10000 characters"),
        # The first that is wrong, in the documented order.
        ({"agent_id": "", "agent_name": "x" * 201}, "agent_id is required"),
        ({"agent_name": "x" * 201, "agent_source": "x" * 201}, "agent_name must be 0-200 characters"),
        ({"agent_source": "x" * 201, "topic": ""}, "agent_source must be 0-200 characters"),
        ({"topic": "", "status": ""}, "session_topic is required"),
        ({"status": "", "timestamp": ""}, "status must be one of: running, success, failed, pending"),
        ({"timestamp": "", "message": "x" * 1001}, "timestamp is required"),
        ({"message": "x" * 1001, "content": "x" * 10001}, "message must be 0-1000 characters"),
        ({"content": "x" * 10001, "ttl_minutes": -1}, "content must be 0-10000 characters"),
    ],
)
async def test_limits_and_their_order(kube: KubeAgents, members: dict[str, Any], message: str) -> None:
    reply = await kube.report(**members)
    assert (reply.status_code, reply.json()) == (400, {"error": "bad_request", "message": message})


async def test_limits_count_characters_and_what_is_unknown_is_ignored(kube: KubeAgents) -> None:
    reply = await kube.report(
        "日" * 100, "✓" * 500, agent_name="ä" * 200, message="ö" * 1000, content="漢" * 10_000, ttl_minutes=1440, more=1
    )
    assert reply.json() == REPORTED
    trailing = {"agent_id": "b", "session_topic": "t", "status": "failed", "timestamp": START}
    headers = {"content-type": "text/plain"}
    assert (await kube.http.post(WEBHOOK, content=json.dumps(trailing) + " }", headers=headers)).json() == REPORTED


@pytest.mark.parametrize("path", ["/nobody", "/nobody/sessions", "/nobody/status", f"/{'x' * 101}", "/%F0%9F%A4%96"])
async def test_an_unknown_agent_is_not_found(kube: KubeAgents, path: str) -> None:
    reply = await kube.http.get(AGENTS + path)
    assert (reply.status_code, reply.json()) == (404, {"error": "not_found", "message": "Agent not found"})


@pytest.mark.parametrize("path", ["/nobody/sessions/x", "/agent-001/sessions/x"])
async def test_an_unknown_session_is_not_found(kube: KubeAgents, path: str) -> None:
    await kube.report()
    reply = await kube.http.get(AGENTS + path)
    assert (reply.status_code, reply.json()) == (404, {"error": "not_found", "message": "Session not found"})


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/webhook", 404, "not_found"),
        ("POST", "/webhook/other", 404, "not_found"),
        ("GET", "/api/agents/a/b", 404, "not_found"),
        ("POST", "/api/agents", 405, "bad_request"),
        ("DELETE", "/api/agents/agent-001", 405, "bad_request"),
        ("GET", "/webhook/status", 405, "bad_request"),
        ("GET", "/api/agents/%zz", 400, "bad_request"),
    ],
)
async def test_the_envelope_holds_below_its_prefixes(
    kube: KubeAgents, method: str, path: str, status: int, code: str
) -> None:
    reply = await kube.http.request(method, path)
    assert reply.status_code == status
    assert set(reply.json()) == {"error", "message"} and reply.json()["error"] == code
    assert reply.headers["content-type"] == "application/json"
    assert ("allow" in reply.headers) is (status == 405)


async def test_a_body_over_a_mebibyte_is_too_large(kube: KubeAgents) -> None:
    reply = await kube.http.post(WEBHOOK, content=b" " * (1024 * 1024 + 1))
    assert reply.status_code == 413 and reply.json()["error"] == "bad_request"


@pytest.mark.parametrize("fault", [ValueError("secret"), StorageFull()])
async def test_what_cannot_be_stored_is_an_internal_error(
    kube: KubeAgents, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise fault

    monkeypatch.setattr(kube.store.agent_reports, "report", fail)
    reply = await kube.report()
    assert reply.status_code == 500
    assert reply.json() == {"error": "internal_error", "message": "Failed to process status report"}


# sessions
