"""AgentReportService over REST, over gRPC by the typed client, as a stream that is resumed, and in the command line."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "access"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "client"))

from access_app import Served, serve
from command_line import CommandLine

from runner.v1.agent_report_pb2 import AgentReport
from runner_client.errors import ClientError, NotFound

REPORTS, AGENTS = "/api/v2/agent-reports", "/api/v2/reported-agents"
SOON = 60.0


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serve(tmp_path) as served:
        yield served


async def _report(rest: httpx.AsyncClient, agent_id: str = "a", topic: str = "t", **members: Any) -> dict[str, Any]:
    body = {"agentId": agent_id, "topic": topic, "status": "STATUS_RUNNING", **members}
    reply = await rest.post(REPORTS, json=body)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()["report"]
    return found


async def test_reports_are_made_and_read_over_rest(served: Served) -> None:
    async with served.rest() as rest:
        report = await _report(rest, "a/b", "t", message="hi", reportTime="2026-01-11T00:54:28.123456789Z")
        assert report["reportTime"] == "2026-01-11T00:54:28.123456789Z" and report["sequence"] == "1"
        agent = (await rest.get(f"{AGENTS}/a%2Fb")).json()["agent"]
        assert (agent["agentId"], agent["sessionCount"], agent["latest"]["message"]) == ("a/b", 1, "hi")
        sessions = (await rest.get(f"{AGENTS}/a%2Fb/sessions", params={"alive": "true"})).json()["sessions"]
        assert [(one["topic"], one["ttlMinutes"], one["reportCount"]) for one in sessions] == [("t", 30, "1")]
        assert (await rest.get(f"{AGENTS}/a%2Fb/reports")).json()["reports"] == [report]
        assert (await rest.get(f"{AGENTS}/a%2Fb/reports", params={"topic": "x"})).json()["reports"] == []
        # Without a time of its own it is now.
        assert (await _report(rest))["reportTime"] > "2026-01-12"
        assert (await rest.get(f"{AGENTS}/nobody")).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"topic": "t", "status": "STATUS_RUNNING"}, "agent_id"),
        ({"agentId": "a", "status": "STATUS_RUNNING"}, "session_topic"),
        ({"agentId": "a", "topic": "t"}, "status"),
        ({"agentId": "a", "topic": "t", "status": "STATUS_FAILED", "ttlMinutes": 1441}, "ttl_minutes"),
        ({"agentId": "a\0", "topic": "t", "status": "STATUS_FAILED"}, "agent_id"),
    ],
)
async def test_what_is_wrong_with_a_report_is_named(served: Served, body: dict[str, Any], field: str) -> None:
    async with served.rest() as rest:
        reply = await rest.post(REPORTS, json=body)
    assert reply.status_code == 400
    assert any(detail.get("metadata", {}).get("field") == field for detail in reply.json()["details"])


async def test_agents_are_listed_in_pages_that_filters_do_not_break(served: Served) -> None:
    async with served.rest() as rest:
        for number in range(7):
            status = "STATUS_FAILED" if number % 2 else "STATUS_SUCCESS"
            await _report(rest, f"agent-{number}", status=status, agentName="Odd" if number % 2 else "")

        async def ids(**query: str) -> list[str]:
            found: list[str] = []
            while True:
                page = (await rest.get(AGENTS, params=query)).json()
                found += [agent["agentId"][-1] for agent in page["agents"]]
                if not page["nextPageToken"]:
                    return found
                query["pageToken"] = page["nextPageToken"]

        assert await ids() == list("0123456")
        assert await ids(pageSize="2") == list("0123456")
        assert await ids(pageSize="2", status="STATUS_FAILED") == list("135")
        assert await ids(pageSize="1", search="ODD") == list("135")
        assert await ids(search="nobody") == []
        assert (await rest.get(AGENTS, params={"pageToken": "x"})).status_code == 400


async def test_a_watch_shows_reports_as_they_come_and_is_resumed_without_a_gap(served: Served) -> None:
    async with served.client() as client, asyncio.timeout(SOON):
        reports = client.agent_reports
        first = await reports.report("a", "t", AgentReport.STATUS_RUNNING, message="first")
        watch = reports.watch(after=0)
        assert await anext(watch) == first
        waiting = asyncio.ensure_future(anext(watch))
        second = await reports.report("b", "t", AgentReport.STATUS_PENDING)
        assert await waiting == second
        await watch.aclose()
        third = await reports.report("a", "t", AgentReport.STATUS_SUCCESS)
        resumed = reports.watch(after=second.sequence)
        assert await anext(resumed) == third
        of_one = reports.watch("b", after=0)
        assert await anext(of_one) == second
        waiting = asyncio.ensure_future(anext(of_one))
        await reports.report("a", "t", AgentReport.STATUS_SUCCESS)
        last = await reports.report("b", "t", AgentReport.STATUS_FAILED)
        assert await waiting == last
        await resumed.aclose()
        await of_one.aclose()


async def test_a_browser_resumes_by_itself(served: Served) -> None:
    async with served.rest() as rest, asyncio.timeout(SOON):
        reports = [await _report(rest, message=str(number)) for number in range(3)]
        headers = {"accept": "text/event-stream", "last-event-id": reports[0]["sequence"]}
        events = []
        async with rest.stream("GET", f"{REPORTS}:watch", headers=headers) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            async for line in stream.aiter_lines():
                if line.startswith("data: "):
                    events.append(json.loads(line.removeprefix("data: "))["report"])
                    if len(events) == 2:
                        break
        assert events == reports[1:]


async def test_the_typed_client_reads_and_is_told_what_is_not_there(served: Served) -> None:
    async with served.client() as client:
        reports = client.agent_reports
        made = await reports.report("a", "t", AgentReport.STATUS_FAILED, content="at length", ttl_minutes=5)
        assert (await reports.get("a")).latest.status == AgentReport.STATUS_FAILED
        assert [agent.agent_id for agent in await reports.list_all(status=AgentReport.STATUS_FAILED)] == ["a"]
        assert [one.ttl_minutes for one in await reports.sessions("a", alive=True)] == [5]
        assert await reports.history("a", topic="t", limit=1) == [made]
        with pytest.raises(NotFound):
            await reports.get("nobody")
        with pytest.raises(ClientError):
            await reports.report("a", "t", AgentReport.STATUS_UNSPECIFIED)


async def test_the_documented_api_and_the_native_one_show_the_same(served: Served) -> None:
    async with served.rest() as rest:
        body = {"agent_id": "k", "session_topic": "t", "status": "success", "timestamp": "2026-01-11T00:54:28Z"}
        assert (await rest.post("/webhook/status", json=body)).status_code == 200
        await _report(rest, "n")
        assert [one["agent_id"] for one in (await rest.get("/api/agents")).json()["agents"]] == ["k", "n"]
        assert [one["agentId"] for one in (await rest.get(AGENTS)).json()["agents"]] == ["k", "n"]
        # Managed agents are others.
        assert (await rest.get("/v1/agents")).json() == {"agents": []}
        assert (await rest.get("/api/v2/auth/audit")).json()["entries"] == [], "reports are no changes by people"


@dataclass
class At:
    """Where the command line finds the server."""

    target: str


async def test_the_command_line_lists_shows_and_watches(served: Served) -> None:
    runner = CommandLine(At(served.grpc))  # type: ignore[arg-type]
    async with served.client() as client:
        reports = client.agent_reports
        await reports.report("a", "the topic", AgentReport.STATUS_RUNNING, message="one\nline", agent_name="Ann")
        await reports.report("b", "t", AgentReport.STATUS_FAILED)
        lines = [line.split() for line in (await runner("agents", "reported")).out.splitlines()]
        assert [(row[0], row[1], row[3], row[4]) for row in lines[1:]] == [
            ("a", "Ann", "running", "1/1"),
            ("b", "-", "failed", "1/1"),
        ]
        assert "one line" in (await runner("agents", "reported")).out
        plain = (await runner("agents", "list")).out.splitlines()
        both = (await runner("agents", "list", "--all")).out.splitlines()
        assert plain == both and "1 of 1 sessions alive" in both[1]
        kinds = [(await runner("agents", "list", "-k", kind)).out.splitlines() for kind in ("managed", "reported")]
        assert [len(lines) for lines in kinds] == [1, 3] and "SESSIONS" in kinds[1][0]
        assert [(line.split()[0], line.split()[1], line.split()[3]) for line in both[1:]] == [
            ("a", "reported", "running"),
            ("b", "reported", "failed"),
        ]
        told = json.loads((await runner("agents", "list", "-a", "--json")).out)
        assert [(one["kind"], one["agentId"]) for one in told] == [("reported", "a"), ("reported", "b")]
        (failed,) = json.loads((await runner("agents", "reported", "--status", "failed", "--json")).out)
        assert failed["agentId"] == "b"
        shown = (await runner("agents", "reported", "a")).out.splitlines()
        assert shown[1].split()[:5] == ["the", "topic", "running", "alive", "30m"]
        assert (await runner("agents", "reported", "nobody")).code == 1

        watching = await runner.start("agents", "reported", "--watch")
        assert watching.stdout is not None
        async with asyncio.timeout(SOON):
            line = asyncio.ensure_future(watching.stdout.readline())
            while not line.done():  # it is not told when the watch has begun
                await reports.report("a", "t", AgentReport.STATUS_SUCCESS, message="seen")
                await asyncio.wait([line], timeout=0.2)
            assert b"success" in line.result() and line.result().rstrip().endswith(b"seen")
        watching.terminate()
        await watching.wait()


async def test_the_command_line_shows_sessions_that_expire(served: Served) -> None:
    runner = CommandLine(At(served.grpc))  # type: ignore[arg-type]
    async with served.client() as client, served.rest() as rest, asyncio.timeout(SOON):
        reports = client.agent_reports
        made = await reports.report("a", "t", AgentReport.STATUS_RUNNING)
        live = await runner.start("agents", "list", "--watch")
        assert live.stdout is not None
        assert b"1 of 1 sessions alive" in await live.stdout.readline()
        with closing(sqlite3.connect(served.data_dir / "runner.db", timeout=SOON)) as store, store:
            store.execute("UPDATE report_sessions SET expires_at = 1")
        assert (await reports.get("a")).active_session_count == 0
        # A watch like that of `agents reported --watch`, from a place that is known.
        watch = reports.events(after=made.sequence)
        ended = await anext(watch)
        assert (ended.expired_session.topic, ended.sequence) == ("t", made.sequence + 1)
        assert ended.expired_session.HasField("expire_time") and not ended.HasField("report")
        assert b"0 of 1 sessions alive" in await live.stdout.readline()
        headers = {"accept": "text/event-stream", "last-event-id": str(made.sequence)}
        async with rest.stream("GET", f"{REPORTS}:watch", headers=headers) as stream:
            lines = [line async for line in stream_until(stream, "data: ")]
        assert f"id: {ended.sequence}" in lines
        assert json.loads(lines[-1].removeprefix("data: "))["expiredSession"]["topic"] == "t"
        await watch.aclose()
        live.terminate()
        await live.wait()


async def stream_until(stream: httpx.Response, start: str) -> AsyncIterator[str]:
    """Lines up to the first that starts so."""
    async for line in stream.aiter_lines():
        yield line
        if line.startswith(start):
            return


async def test_the_command_line_watches_agents_of_both_kinds(served: Served) -> None:
    runner = CommandLine(At(served.grpc))  # type: ignore[arg-type]
    async with served.client() as client, asyncio.timeout(SOON):
        reports = client.agent_reports
        await reports.report("a", "t", AgentReport.STATUS_RUNNING)
        watching = await runner.start("agents", "list", "--all", "--watch")
        assert watching.stdout is not None
        assert (await watching.stdout.readline()).split()[:4] == [b"a", b"reported", b"-", b"running"]
        await reports.report("a", "t", AgentReport.STATUS_FAILED)
        assert (await watching.stdout.readline()).split()[:4] == [b"a", b"reported", b"-", b"failed"]
        made = await client.agents.create("no-such-image", name="mine")
        told = (await watching.stdout.readline()).split()
        assert told[:4] == [made.agent_id.encode(), b"managed", b"mine", b"error"]
        watching.terminate()
        await watching.wait()
