"""KubeAgents: sessions and their ends, filters, and who may call."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from kubeagents_house import AGENTS, CONTRACT, WEBHOOK, KubeAgents, open_kubeagents

from runner_service.domain.agent_reports import MINUTE, ReportSession
from runner_service.services.agent_reports import AT_ONCE, sequence_of

REPORTED = {"success": True, "message": "Status reported successfully"}


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


async def test_who_watches_is_told_of_an_end_once_and_in_order(kube: KubeAgents) -> None:
    async with asyncio.timeout(60):
        await kube.report(ttl_minutes=1)
        watch, other = kube.reports.watch(after=0), kube.reports.watch(agent_id="agent-002", after=0)
        first = await anext(watch)
        waiting, quiet = asyncio.ensure_future(anext(watch)), asyncio.ensure_future(anext(other))
        kube.clock.advance(61)
        await asyncio.gather(*(kube.reports.expire() for _ in range(3)))
        ended = await waiting
        assert isinstance(ended, ReportSession)
        assert (ended.topic, ended.expired_at, sequence_of(ended)) == ("task-001", kube.clock.time, 2)
        await kube.report(status="success", ttl_minutes=1)
        revived = await anext(watch)
        assert (sequence_of(first), sequence_of(revived)) == (1, 3)
        kube.clock.advance(61)
        await kube.reports.expire()
        again = await anext(watch)
        assert isinstance(again, ReportSession) and sequence_of(again) == 4
        await kube.report("agent-002")
        assert (await quiet).agent_id == "agent-002"
        # A watcher that was away is told what stands: the first end was undone by the report behind it.
        resumed = kube.reports.watch(after=0)
        assert [sequence_of(await anext(resumed)) for _ in range(4)] == [1, 3, 4, 5]
        for each in (watch, other, resumed):
            await each.aclose()


async def test_many_events_come_in_pieces_without_a_gap(kube: KubeAgents) -> None:
    async with asyncio.timeout(60):
        await asyncio.gather(*(kube.report(topic=f"t{number}", ttl_minutes=1) for number in range(AT_ONCE + 100)))
        kube.clock.advance(61)
        await kube.reports.expire()
        watch = kube.reports.watch(after=0)
        wanted = 2 * (AT_ONCE + 100)
        assert [sequence_of(await anext(watch)) for _ in range(wanted)] == list(range(1, wanted + 1))
        await watch.aclose()


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
