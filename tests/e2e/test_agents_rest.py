"""Managed agents over the native REST API and gRPC."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from e2e_server import ServerProcess
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from runner.v1.agent_pb2 import Agent
from runner.v1.agent_service_pb2 import ChatAgentRequest, ChatAgentResponse, ChatMessage, ChatToolRequest
from runner_client import AsyncClient
from runner_client.errors import NotFound


@pytest.fixture
async def agent(client: AsyncClient) -> AsyncIterator[Agent]:
    made = await client.agents.create("echo", name="demo")
    yield made
    try:
        await client.agents.delete(made.agent_id)
    except NotFound:
        pass


async def events(http: httpx.AsyncClient, path: str, count: int, **headers: str) -> list[dict[str, Any]]:
    """The first events of a stream, each with its id."""
    found: list[dict[str, Any]] = []
    headers = {"Accept": "text/event-stream", **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with http.stream("GET", path, headers=headers) as reply:
        assert reply.status_code == 200
        event_id = ""
        async for line in reply.aiter_lines():
            if line.startswith("id:"):
                event_id = line[3:].strip()
            elif line.startswith("data:"):
                found.append({**json.loads(line[5:]), "id": event_id})
                if len(found) == count:
                    break
    return found


async def say(client: AsyncClient, agent_id: str, *texts: str) -> list[ChatAgentResponse]:
    async def requests() -> AsyncIterator[ChatAgentRequest]:
        yield ChatAgentRequest(agent_id=agent_id)
        for number, text in enumerate(texts):
            yield ChatAgentRequest(message=ChatMessage(content=text, message_id=f"m{number}", whole=True))
        yield ChatAgentRequest(tool_request=ChatToolRequest(tool="echo", parameters="[1, 2.5]", request_id="q"))
        yield ChatAgentRequest(tool_request=ChatToolRequest(tool="echo", parameters="{", request_id="r"))

    return [frame async for frame in client.agents.chat(requests())]


async def test_an_agent_over_rest_from_making_to_deleting(http: httpx.AsyncClient) -> None:
    body = {"image": "echo", "name": "rest", "parameters": {"n": 9007199254740993}, "requestId": "r-1"}
    made = (await http.post("/api/v2/agents", json=body)).json()["agent"]
    again = (await http.post("/api/v2/agents", json=body)).json()["agent"]
    assert again["agentId"] == made["agentId"] and made["status"] == "STATUS_RUNNING"
    assert made["parameters"] == {"delay_seconds": 0, "n": 9007199254740993}
    other = await http.post("/api/v2/agents", json={**body, "name": "x"})
    assert other.status_code == 409 and "REQUEST_ID_REUSED" in other.text
    path = f"/api/v2/agents/{made['agentId']}"
    assert (await http.get(path)).json()["agent"]["name"] == "rest"
    listed = (await http.get("/api/v2/agents", params={"statuses": "STATUS_RUNNING", "pageSize": 1})).json()
    assert [each["agentId"] for each in listed["agents"]] == [made["agentId"]]
    log = (await http.get(f"{path}/logs")).json()["entries"]
    assert [entry["message"] for entry in log] == ["Agent created from echo", "Agent started"]
    job = (await http.get(f"/api/v2/jobs/{made['agentId']}")).json()["job"]
    assert job["kind"] == "KIND_AGENT" and job["state"] == "STATE_RUNNING"
    assert (await http.delete(path)).status_code == 200
    for method in ("GET", "DELETE"):
        gone = await http.request(method, path)
        assert gone.status_code == 404 and "AGENT_NOT_FOUND" in gone.text


async def test_images_over_rest(http: httpx.AsyncClient) -> None:
    manifest = {"entrypoint": ["true"], "parameters": {"x": 1.5}}
    package = base64.b64encode(json.dumps(manifest).encode()).decode()
    pushed = (await http.post("/api/v2/images:push", json={"name": "a/b", "package": package})).json()["image"]
    assert pushed["tag"] == "latest" and pushed["manifest"]["parameters"] == {"x": 1.5}
    for reference in ("a/b", "a/b:latest", pushed["imageId"], pushed["imageId"][:16]):
        assert (await http.get(f"/api/v2/images/{reference}")).json()["image"] == pushed
    found = (await http.get("/api/v2/images:search", params={"query": "A/B"})).json()
    assert found["totalSize"] == 1 and found["images"] == [pushed]
    assert (await http.delete("/api/v2/images/a/b")).status_code == 200
    assert (await http.get("/api/v2/images/a/b")).status_code == 404
    assert (await http.post("/api/v2/images:pull", json={"name": "a/b"})).json()["image"] == pushed
    bad = await http.post("/api/v2/images:push", json={"name": "A", "package": package})
    assert bad.status_code == 400 and "name" in bad.text


async def test_a_chat_over_grpc_ends_when_all_is_answered(client: AsyncClient, agent: Agent) -> None:
    frames = await say(client, agent.agent_id, "one two", "three")
    kinds = ChatAgentResponse
    answers = {frame.message_id: frame.content for frame in frames if frame.kind == kinds.KIND_RESPONSE}
    assert answers == {"m0": "one two", "m1": "three"}
    (result,) = [frame for frame in frames if frame.kind == kinds.KIND_TOOL_RESULT]
    assert result.ok and json.loads(result.data) == {"result": [1, 2.5]}
    assert [frame.error for frame in frames if frame.kind == kinds.KIND_ERROR] == [
        "The parameters of the tool are no JSON"
    ]
    with pytest.raises(NotFound):
        await say(client, "nobody", "x")


async def test_a_chat_over_the_native_websocket(server: ServerProcess, agent: Agent) -> None:
    url = f"{server.http.replace('http', 'ws', 1)}/api/v2/agents/{agent.agent_id}/chat"
    async with connect(url, proxy=None, open_timeout=60) as chat:
        welcome = json.loads(await chat.recv())
        assert (welcome["kind"], welcome["data"]["status"]) == ("KIND_EVENT", "running")
        await chat.send(json.dumps({"message": {"content": "hello there", "whole": True}}))
        assert json.loads(await chat.recv())["eventType"] == "thinking"
        assert json.loads(await chat.recv())["content"] == "hello there"
    with pytest.raises(InvalidStatus) as unknown:
        async with connect(url.replace(agent.agent_id, "nobody"), proxy=None, open_timeout=60):
            pass
    assert unknown.value.response.status_code == 404


async def test_events_are_resumed_without_a_gap(client: AsyncClient, http: httpx.AsyncClient, agent: Agent) -> None:
    path = f"/api/v2/agents/{agent.agent_id}/events"
    (first,) = await events(http, path, 1)
    assert first["event"]["eventType"] == "agent_status" and first["event"]["data"]["status"] == "running"
    await say(client, agent.agent_id, "one")
    await say(client, agent.agent_id, "two")
    told = await events(http, path, 4, last_event_id=first["id"])
    assert sorted(each["event"]["eventType"] for each in told) == [
        "message_processed", "message_processed", "tool_used", "tool_used",
    ]  # fmt: skip
    assert await events(http, path, 2, last_event_id=told[1]["id"]) == told[2:]
    assert [event.sequence async for event in _some(client, agent.agent_id, int(told[0]["id"]), 3)] == [
        int(each["id"]) for each in told[1:]
    ]


async def _some(client: AsyncClient, agent_id: str, after: int, count: int) -> AsyncIterator[Any]:
    async for event in client.agents.events(agent_id, after=after):
        yield event
        count -= 1
        if not count:
            return


async def test_watchers_see_agents_come_and_go(client: AsyncClient, server: ServerProcess) -> None:
    watching = client.agents.watch()
    await anext(watching)
    made = await client.agents.create("echo")
    seen: dict[str, Any] = {}
    while made.agent_id not in seen or seen[made.agent_id].status != Agent.STATUS_RUNNING:
        seen.update({each.agent_id: each for each in (await anext(watching)).agents})
    await client.agents.delete(made.agent_id)
    while made.agent_id not in (await anext(watching)).gone_agent_ids:
        pass
