"""Every documented endpoint of KubeAgents: status, members, types and errors, from the contract (seed 001)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from contract_shapes import check_shape
from google.api import annotations_pb2
from kubeagents_house import AGENTS, CONTRACT, START, WEBHOOK, KubeAgents, open_kubeagents
from sct_server import ROOT

from runner.dialects.common.v1 import health_service_pb2
from runner.dialects.kubeagents.v1 import agent_service_pb2
from runner_service.domain.agent_reports import MINUTE
from runner_service.domain.errors import StorageFull

SHARED = ROOT.parent / "shared" / "contract" / "rest_contract.yaml"
REPORTED = {"success": True, "message": "Status reported successfully"}
GETS = [name for name, endpoint in CONTRACT.items() if endpoint["method"] == "GET" and name != "health"]


@pytest.fixture
async def kube(tmp_path: Path) -> AsyncIterator[KubeAgents]:
    async with open_kubeagents(tmp_path) as kube:
        yield kube


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


async def test_a_session_expires_on_read_and_a_report_revives_it(kube: KubeAgents) -> None:
    await kube.report(ttl_minutes=1)
    await kube.report(topic="other")
    kube.clock.advance(60)
    assert (await kube.get("/agent-001"))["active_session_count"] == 2
    kube.clock.advance(1)
    assert (await kube.get(""))["agents"][0]["active_session_count"] == 1
    sessions = (await kube.get("/agent-001/sessions"))["sessions"]
    assert [(one["session_topic"], one["expired"], one.get("expired_at")) for one in sessions] == [
        ("other", False, None),
        ("task-001", True, "2023-11-14T22:14:21Z"),
    ]
    alive = (await kube.get("/agent-001/sessions", expired="false"))["sessions"]
    assert [one["session_topic"] for one in alive] == ["other"]
    for word in ("true", "False", "0", ""):
        assert len((await kube.get("/agent-001/sessions", expired=word))["sessions"]) == 2
    await kube.report(status="success")
    session = (await kube.get("/agent-001/sessions/task-001"))["session"]
    assert session["expired"] is False and "expired_at" not in session and session["ttl_minutes"] == 1
    assert "current_status" not in session
    assert (await kube.get("/agent-001/sessions"))["sessions"][0]["current_status"] == "success"


async def test_sessions_expire_on_the_clock_without_a_read(kube: KubeAgents) -> None:
    await kube.report()
    kube.clock.time += 30 * MINUTE + 1
    await kube.reports.sweep()
    expired = kube.clock.time
    kube.clock.advance(3600)
    assert (await kube.store.agent_reports.session("agent-001", "task-001")).expired_at == expired


async def test_silent_sessions_are_forgotten_after_a_time(kube: KubeAgents) -> None:
    await kube.report()
    kube.clock.advance(86_401)
    await kube.report("agent-002")
    await kube.reports.sweep()
    assert [agent["agent_id"] for agent in (await kube.get(""))["agents"]] == ["agent-002"]


@pytest.mark.parametrize(
    ("topic", "path"),
    [
        ("a/b", "a%2Fb"),
        ("a b?c#d", "a%20b%3Fc%23d"),
        ("日本語/✓", "%E6%97%A5%E6%9C%AC%E8%AA%9E%2F%E2%9C%93"),
        ("100%", "100%25"),
        ("%2F", "%252F"),
        ("..", "%2E%2E"),
        ("a+b", "a+b"),
        ("status", "status"),
    ],
)
async def test_topics_and_ids_may_hold_slashes_blanks_and_any_unicode(kube: KubeAgents, topic: str, path: str) -> None:
    await kube.report(topic, topic)
    scope_path = f"{AGENTS}/{path}/sessions/{path}"
    reply = await kube.http.get(f"http://127.0.0.1:8080{scope_path}")
    assert reply.json()["session"]["session_topic"] == topic, reply.text
    assert (await kube.http.get(f"http://127.0.0.1:8080{AGENTS}/{path}/status")).json()["agent_id"] == topic


# lists


async def test_agents_are_filtered_and_in_order_of_registration(kube: KubeAgents) -> None:
    for agent_id, name, status in (("b", "Zoë", "failed"), ("a", "Alpha", "running"), ("C-1", "", "failed")):
        await kube.report(agent_id, agent_name=name, status=status)
        kube.clock.advance(1)
    await kube.report("b", status="failed", timestamp="2024-01-01T00:00:00Z")

    async def ids(**query: str) -> list[str]:
        return [agent["agent_id"] for agent in (await kube.get("", **query))["agents"]]

    assert await ids() == ["b", "a", "C-1"]
    assert await ids(status="failed") == ["b", "C-1"]
    assert await ids(status="nonsense") == []
    assert await ids(search="c-") == ["C-1"]
    assert await ids(search="ZOË") == ["b"]
    assert await ids(search="a", status="running") == ["a"]
    assert await ids(search="%") == []
    assert await ids(unknown="x") == ["b", "a", "C-1"]


async def test_status_shows_the_newest_of_all_sessions_and_a_bounded_history(tmp_path: Path) -> None:
    async with open_kubeagents(tmp_path, history=60) as kube:
        for number in range(150):
            at = f"2026-01-11T{number // 60:02}:{number % 60:02}:00Z"
            topic = f"task-{number % 3}"
            await kube.report(topic=topic, timestamp=at, message=str(number), content="long" if number == 149 else "")
        body = await kube.get("/agent-001/status")
        assert (body["session_topic"], body["message"], body["content"]) == ("task-2", "149", "long")
        assert [one["message"] for one in body["status_history"]] == [str(149 - place) for place in range(100)]
        for _ in range(20):
            await kube.report(topic="task-0", message="late", timestamp="2020-01-01T00:00:00Z")
        history = (await kube.get("/agent-001/sessions/task-0"))["status_history"]
        assert len(history) == 60 and history[-1]["message"] == "late" and history[0]["message"] == "147"
        assert (await kube.get("/agent-001"))["latest_message"] == "149"


async def test_reports_at_one_time_lose_nothing(kube: KubeAgents) -> None:
    replies = await asyncio.gather(*(kube.report(f"agent-{n % 7}", f"task-{n % 5}") for n in range(140)))
    assert {reply.status_code for reply in replies} == {200}
    agents = (await kube.get(""))["agents"]
    assert [agent["session_count"] for agent in agents] == [5] * 7
    histories = [
        len((await kube.get(f"/{agent['agent_id']}/sessions/task-{n}"))["status_history"])
        for agent in agents
        for n in range(5)
    ]
    assert sum(histories) == 140


# access and CORS


async def test_keys_are_demanded_when_there_are_any(tmp_path: Path) -> None:
    async with open_kubeagents(tmp_path, keys=("agent-key",)) as kube:
        for headers, status, code in (
            ({}, 401, "unauthorized"),
            ({"authorization": "Bearer nonsense"}, 401, "unauthorized"),
            ({"authorization": "Bearer viewer-key"}, 403, "forbidden"),
        ):
            reply = await kube.http.post(WEBHOOK, json={}, headers=headers)
            assert (reply.status_code, reply.json()["error"]) == (status, code)
        body = CONTRACT["webhook_status"]["request"]["examples"][0]
        allowed = await kube.http.post(WEBHOOK, json=body, headers={"authorization": "Bearer agent-key"})
        assert allowed.json() == REPORTED
        assert (await kube.http.get(AGENTS, headers={"authorization": "Bearer viewer-key"})).status_code == 200
        assert (await kube.http.get("/health")).status_code == 200


async def test_other_machines_need_a_key(tmp_path: Path) -> None:
    async with open_kubeagents(tmp_path, peer="198.18.0.2") as kube:
        assert (await kube.report()).status_code == 401
        assert (await kube.http.get(AGENTS, headers={"authorization": "Bearer viewer-key"})).status_code == 200


async def test_any_origin_may_call_unless_some_are_named(kube: KubeAgents, tmp_path: Path) -> None:
    page = {"origin": "https://dashboard.example"}
    preflight = {**page, "access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    reply = await kube.http.options(WEBHOOK, headers=preflight)
    assert reply.status_code in (200, 204)
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.headers["access-control-allow-methods"] == "GET, POST, PUT, DELETE, OPTIONS"
    assert reply.headers["access-control-max-age"] == "300"
    for header in ("Accept", "Authorization", "Content-Type", "X-API-Key", "X-CSRF-Token", "Last-Event-ID"):
        assert header in reply.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in reply.headers
    body = CONTRACT["webhook_status"]["request"]["examples"][0]
    for answer in (
        await kube.http.post(WEBHOOK, json=body, headers=page),
        await kube.http.get(AGENTS, headers=page),
        await kube.http.get("/health", headers=page),
        await kube.http.get(f"{AGENTS}/nobody", headers=page),
        await kube.http.get(f"{AGENTS}/a/b", headers=page),
    ):
        assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-origin" not in (await kube.http.get("/api/v2/reported-agents", headers=page)).headers
    (tmp_path / "named").mkdir()
    async with open_kubeagents(tmp_path / "named", origins=("https://mine.example",)) as named:
        assert "access-control-allow-origin" not in (await named.http.get(AGENTS, headers=page)).headers
        mine = await named.http.get(AGENTS, headers={"origin": "https://mine.example"})
        assert mine.headers["access-control-allow-origin"] == "https://mine.example"
        assert mine.headers["access-control-allow-credentials"] == "true"
