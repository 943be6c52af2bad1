"""Every documented endpoint of SentinelStacks: status, members, types, fixed values and errors, from the contract."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from contract_shapes import check_shape
from google.api import annotations_pb2
from sct_server import SctServer
from sentinel_client import CONTRACT, USER, Sentinel, ends, hear, hear_until, say
from websockets.exceptions import InvalidStatus

from runner.dialects.sentinelstacks.v1 import agent_service_pb2, auth_service_pb2, image_service_pb2


@pytest.fixture(scope="module")
def agent_id(sentinel: Sentinel) -> Iterator[str]:
    agent = sentinel.create(parameters={"name": "demo-agent", "model": "claude-3-haiku-20240307"})
    yield agent["id"]
    sentinel.delete(agent["id"])


@pytest.fixture(scope="module")
def image_id(sentinel: Sentinel) -> str:
    body = {"name": "user/chatbot", "tag": "latest", "description": "Chats", "file": "aGVsbG8="}
    reply = sentinel.http.post("/v1/registry/push", json=body, headers=sentinel.login())
    found: str = reply.json()["id"]
    return found


def test_the_documented_endpoints_are_served_and_none_is_extra() -> None:
    served = set()
    for file in (agent_service_pb2, auth_service_pb2, image_service_pb2):
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                rule = method.GetOptions().Extensions[annotations_pb2.http]
                verb = rule.WhichOneof("pattern")
                served.add((verb.upper(), getattr(rule, verb)))
    assert served == {(each["method"], each["path"]) for each in CONTRACT.values()}


def ask(sentinel: Sentinel, name: str, ids: dict[str, str], **options: Any) -> httpx.Response:
    endpoint = CONTRACT[name]
    path = endpoint["path"].format(**ids)
    headers = sentinel.login() if endpoint["auth"] == "sentinel_jwt" else {}
    return sentinel.http.request(endpoint["method"], path, headers=headers, **options)


def check(name: str, reply: httpx.Response) -> None:
    success = CONTRACT[name]["success"]
    assert reply.status_code == success["status"], reply.text
    assert reply.headers["content-type"] == "application/json"
    body = reply.json()
    check_shape(body, success["required"], success.get("optional"))
    for member, value in success.get("fixed", {}).items():
        assert body[member] == value


@pytest.mark.parametrize(
    ("name", "example"),
    [
        pytest.param(name, example["body"], id=f"{name}-{number}")
        for name, endpoint in CONTRACT.items()
        for number, example in enumerate(endpoint.get("request", {}).get("examples", ()))
        if name != "registry_pull"
    ],
)
def test_documented_requests_get_the_documented_answer(sentinel: Sentinel, name: str, example: Any) -> None:
    reply = ask(sentinel, name, {}, json=example)
    check(name, reply)
    if name == "create_agent":
        assert reply.json()["image"] == example["image"]
        sentinel.delete(reply.json()["id"])


@pytest.mark.parametrize("name", ["list_agents", "get_agent", "agent_logs", "list_images", "registry_search"])
def test_documented_reads_get_the_documented_answer(
    sentinel: Sentinel, name: str, agent_id: str, image_id: str
) -> None:
    reply = ask(sentinel, name, {"id": agent_id})
    check(name, reply)
    assert next(iter(reply.json().values())), "an empty answer shows no types"


def test_an_image_is_shown_by_its_id(sentinel: Sentinel, image_id: str) -> None:
    reply = ask(sentinel, "get_image", {"id": image_id})
    check("get_image", reply)
    body = reply.json()
    assert body["metadata"] == {"description": "Chats", "author": "user", "version": "latest"}
    for other in (image_id[:20], image_id.removeprefix("sha256:")[:12], "user%2Fchatbot:latest", "user%2Fchatbot"):
        assert ask(sentinel, "get_image", {"id": other}).json() == body, other


def test_what_was_pushed_is_pulled(sentinel: Sentinel, image_id: str) -> None:
    for body in ({"name": "user/chatbot", "tag": "latest"}, {"name": "user/chatbot"}):
        reply = ask(sentinel, "registry_pull", {}, json=body)
        check("registry_pull", reply)
        assert reply.json()["id"] == image_id


def test_a_created_agent_is_as_asked(sentinel: Sentinel) -> None:
    wanted = {"name": "demo", "model": "claude", "n": 1.5}
    agent = sentinel.create(parameters=wanted)
    assert (agent["name"], agent["model"], agent["status"]) == ("demo", "claude", "running")
    host = sentinel.http.base_url.netloc.decode()
    assert agent["endpoints"] == {
        "chat": f"ws://{host}/v1/agents/{agent['id']}/chat",
        "events": f"ws://{host}/v1/agents/{agent['id']}/events",
    }
    assert sentinel.agent(agent["id"]) == agent
    plain = sentinel.create()
    assert (plain["name"], plain["model"]) == ("Agent", "echo")
    listed = [each["id"] for each in sentinel.http.get("/v1/agents").json()["agents"]]
    assert listed.index(plain["id"]) < listed.index(agent["id"]), "newest first"
    for each in (agent, plain):
        reply = ask(sentinel, "delete_agent", {"id": each["id"]})
        check("delete_agent", reply)
        assert reply.json()["id"] == each["id"]
        assert ask(sentinel, "delete_agent", {"id": each["id"]}).status_code == 404
        assert ask(sentinel, "get_agent", {"id": each["id"]}).json() == {"error": "Agent not found"}


def test_no_agent_is_ever_paused(sentinel: Sentinel) -> None:
    # A word of the document for which it has no call that would bring it about.
    reply = sentinel.http.get("/v1/agents", params={"status": "paused"})
    assert (reply.status_code, reply.json()) == (200, {"agents": []})


def test_a_list_leaves_out_what_is_stopped(sentinel: Sentinel) -> None:
    sentinel.push("print('done')", name="ends")
    agent_id = sentinel.create("ends")["id"]
    sentinel.when(agent_id, "stopped")

    def listed(**query: str) -> list[str]:
        return [each["id"] for each in sentinel.http.get("/v1/agents", params=query).json()["agents"]]

    assert agent_id not in listed() and agent_id in listed(status="stopped") and agent_id not in listed(status="error")
    assert listed(status="paused") == []
    sentinel.delete(agent_id)


@pytest.mark.parametrize("image", ["no/such:image", "sha256:0000", "Not A Name", "user/chatbot"])
def test_an_agent_that_cannot_start_is_made_and_says_so(sentinel: Sentinel, image_id: str, image: str) -> None:
    agent = sentinel.create(image)
    assert agent["status"] == "error" and agent["image"] == image
    assert [entry["level"] for entry in sentinel.logs(agent["id"])][-1] == "error"
    assert agent["id"] in {each["id"] for each in sentinel.http.get("/v1/agents").json()["agents"]}
    sentinel.delete(agent["id"])


BODIES: list[tuple[str, Any, str]] = [
    ("login", b"{", "Invalid request body"),
    ("login", b"", "Invalid request body"),
    ("login", {"username": "", "password": "x"}, "Username and password are required"),
    ("login", {"username": "x"}, "Username and password are required"),
    ("login", {"username": 5, "password": "x"}, "Invalid request body"),
    ("create_agent", b"nonsense", "Invalid request body"),
    ("create_agent", {}, "Image is required"),
    ("create_agent", {"image": ""}, "Image is required"),
    ("create_agent", {"image": 5}, "Invalid request body"),
    ("create_agent", {"image": "echo", "environment": {"A": 1}}, "Invalid request body"),
    ("registry_push", b"{", "Invalid request body"),
    ("registry_push", {"name": "a"}, "Name and tag are required"),
    ("registry_push", {"tag": "a"}, "Name and tag are required"),
    ("registry_push", {"name": "a", "tag": "b", "file": "!"}, "Invalid request body"),
    ("registry_pull", {}, "Name is required"),
]


@pytest.mark.parametrize(("name", "body", "error"), BODIES)
def test_a_bad_body_is_refused_in_the_documents_words(sentinel: Sentinel, name: str, body: Any, error: str) -> None:
    content = {"content": body} if isinstance(body, bytes) else {"json": body}
    reply = ask(sentinel, name, {}, **content)
    assert (reply.status_code, reply.json()) == (400, {"error": error})


def test_every_documented_error_is_checked_here() -> None:
    texts = {
        each["body"]["error"] for endpoint in CONTRACT.values() for each in endpoint.get("errors", ()) if "body" in each
    }
    here = {error for _, _, error in BODIES} | {
        "Invalid username or password", "Agent not found", "Image not found", "Authorization header required",
        "Invalid authorization format, expected Bearer token",
    }  # fmt: skip
    assert texts == here


@pytest.mark.parametrize("name", [name for name, each in CONTRACT.items() if each["auth"] == "sentinel_jwt"])
def test_the_registry_always_wants_a_token(sentinel: Sentinel, name: str) -> None:
    endpoint = CONTRACT[name]

    def answer(**headers: str) -> Any:
        reply = sentinel.http.request(endpoint["method"], endpoint["path"], json={}, headers=headers)
        return reply.status_code, reply.json()["error"]

    assert answer() == (401, "Authorization header required")
    for bad in ("Basic dXNlcjpwYXNzd29yZA==", "token"):
        assert answer(Authorization=bad) == (401, "Invalid authorization format, expected Bearer token")
    status, error = answer(Authorization="Bearer nonsense")
    assert status == 401 and error.startswith("Invalid token: ")


def test_a_login_gives_a_token_for_the_right_password_alone(sentinel: Sentinel) -> None:
    for wrong in ({"username": "user", "password": "wrong"}, {"username": "nobody", "password": "password"}):
        reply = sentinel.http.post("/v1/auth/login", json=wrong)
        assert (reply.status_code, reply.json()) == (401, {"error": "Invalid username or password"})
    reply = sentinel.http.post("/v1/auth/login", json=USER)
    assert reply.json()["username"] == "user"


@pytest.mark.parametrize("path", ["/v1/agents", "/v1/images", "/v1/agents/x/logs"])
def test_a_bad_token_is_refused_where_none_is_needed(sentinel: Sentinel, path: str) -> None:
    reply = sentinel.http.get(path, headers={"Authorization": "Bearer nonsense"})
    assert reply.status_code == 401 and reply.json()["error"].startswith("Invalid token: ")


UNKNOWN = ("6f1c7d3e-0b1a-4f4e-9a43-2b1f0b7b8c11", "agent123", "%00", "%2F")
RESERVED = [
    # GET of queues and data, and what is below images and data, are pages of Testflinger's.
    *[("DELETE", each) for each in ("queues", "images", "data", "provision_logs")],
    *[("GET", each) for each in ("images", "provision_logs", "queues/logs", "provision_logs/logs")],
]


@pytest.mark.parametrize(
    ("method", "path"),
    [*[(method, each + tail) for each in UNKNOWN for method, tail in (("GET", ""), ("DELETE", ""), ("GET", "/logs"))],
     *RESERVED],
)  # fmt: skip
def test_unknown_and_reserved_ids_are_not_found(sentinel: Sentinel, method: str, path: str) -> None:
    reply = sentinel.http.request(method, f"/v1/agents/{path}")
    assert (reply.status_code, reply.json()) == (404, {"error": "Agent not found"})


@pytest.mark.parametrize("name", ["chat", "events"])
async def test_sockets_answer_before_the_upgrade(sentinel: Sentinel, agent_id: str, name: str) -> None:
    plain = sentinel.http.get(f"/v1/agents/{agent_id}/{name}")
    assert plain.status_code == 426 and plain.headers["upgrade"] == "websocket" and set(plain.json()) == {"error"}
    open_ = sentinel.chat if name == "chat" else sentinel.events
    with pytest.raises(InvalidStatus) as unknown:
        async with open_("6f1c7d3e-0b1a-4f4e-9a43-2b1f0b7b8c11"):
            pass
    assert unknown.value.response.status_code == 404
    assert unknown.value.response.body == b'{"error":"Agent not found"}'
    with pytest.raises(InvalidStatus) as refused:
        async with _with_token(sentinel, agent_id, name, "nonsense"):
            pass
    assert refused.value.response.status_code == 401
    token = sentinel.login()["Authorization"].removeprefix("Bearer ")
    async with _with_token(sentinel, agent_id, name, token) as socket:
        assert (await hear(socket))["type"] == "event"


def _with_token(sentinel: Sentinel, agent_id: str, name: str, token: str) -> Any:
    from websockets.asyncio.client import connect

    return connect(f"{sentinel.sockets}/v1/agents/{agent_id}/{name}?token={token}", proxy=None, open_timeout=60)


def frames_of(name: str) -> dict[str, dict[str, Any]]:
    """The documented frames, by type and event type."""
    return {
        ":".join(filter(None, (each["type"], each.get("fixed", {}).get("event_type", "")))): each
        for each in CONTRACT[name]["server_messages"]
    }


async def test_the_chats_documented_frames_come_in_the_documented_order(sentinel: Sentinel, agent_id: str) -> None:
    known = frames_of("ws_chat")

    def check_frame(frame: dict[str, Any]) -> str:
        kind = ":".join(filter(None, (frame["type"], frame.get("event_type", ""))))
        check_shape(frame, known[kind]["required"], known[kind].get("optional"))
        seen.add(kind)
        return kind

    seen: set[str] = set()
    message, tool = (each["example"] for each in CONTRACT["ws_chat"]["client_messages"])
    async with sentinel.chat(agent_id) as chat:
        welcome = await hear(chat)
        assert check_frame(welcome) == "event:connection_established"
        assert welcome["content"] == f"Connected to agent demo-agent ({agent_id})"
        assert welcome["data"] == {"agent_id": agent_id, "agent_name": "demo-agent", "status": "running"}
        await say(chat, **message)
        frames = await hear_until(chat, ends)
        kinds = [check_frame(frame) for frame in frames]
        words = message["content"].split()
        assert kinds == ["event:thinking", "stream_start", *["stream_chunk"] * len(words), "stream_end"]
        assert {frame["message_id"] for frame in frames} == {message["message_id"]}
        assert len({frame["response_id"] for frame in frames[1:]}) == 1
        chunks = frames[2:-1]
        assert [frame["chunk_index"] for frame in chunks] == list(range(len(words)))
        assert "".join(frame["content"] for frame in chunks) == frames[-1]["content"] == message["content"]
        await say(chat, **message, stream=False)
        frames = await hear_until(chat, ends)
        assert [check_frame(frame) for frame in frames] == ["event:thinking", "response"]
        assert frames[-1]["content"] == message["content"]
        await say(chat, **tool)
        result = await hear(chat)
        assert check_frame(result) == "tool_result"
        assert (result["request_id"], result["status"], set(result["data"])) == (tool["request_id"], "error", {"error"})
        await say(chat, type="tool_request", tool="echo", parameters={"n": [1, 2.5, None]})
        result = await hear(chat)
        check_frame(result)
        assert (result["status"], result["data"]) == ("success", {"result": {"n": [1, 2.5, None]}})
        for bad, error in (
            ("no JSON", "Invalid message"),
            ("[1]", "Invalid message"),
            ('{"type": "message", "content": 5}', "Invalid message"),
            ('{"type": "dance"}', "Unknown message type"),
            ("{}", "Unknown message type"),
        ):
            await chat.send(bad)
            frame = await hear(chat)
            check_frame(frame)
            assert frame["error"] == error
        await say(chat, type="message", content="still here")
        assert (await hear_until(chat, ends))[-1]["content"] == "still here"
    assert seen == set(known)


async def test_the_events_documented_frames_come_as_they_happen(sentinel: Sentinel) -> None:
    known = frames_of("ws_events")
    sentinel.push(FRAGILE, name="fragile", tools=["clock"])
    agent_id = sentinel.create("fragile", parameters={"name": "demo-agent"})["id"]
    async with sentinel.events(agent_id) as events, sentinel.chat(agent_id) as chat:
        first = await hear(events)
        assert first["content"] == "Agent demo-agent is running"
        assert re.fullmatch(r"\d+MB", first["data"]["memory"])
        assert first["data"]["api_usage"] == {"requests": 0, "tokens": 0}
        await events.send("what a client says is passed over")
        await say(chat, type="message", content="hi", message_id="m1")
        await say(chat, type="tool_request", tool="clock", parameters={}, request_id="q1")
        frames = [first, *await hear_until(events, lambda frame: frame["event_type"] == "tool_used")]
        await say(chat, type="message", content="die", message_id="m2")
        frames += await hear_until(events, lambda frame: frame["event_type"] == "error")
    for frame in frames:
        documented = known[f"event:{frame['event_type']}"]
        check_shape(frame, documented["required"], documented.get("optional"))
        assert frame["data"]["agent_id"] == agent_id
    told = [frame["event_type"] for frame in frames]
    assert told == ["agent_status", "message_processed", "tool_used", "agent_status", "error"]
    assert frames[1]["data"]["message_id"] == "m1"
    assert (frames[2]["data"]["tool"], frames[2]["data"]["request_id"]) == ("clock", "q1")
    assert frames[3]["data"]["status"] == "error" and frames[3]["data"]["api_usage"] == {"requests": 2, "tokens": 3}
    assert frames[4]["data"]["error"] == "exit code 7"
    sentinel.delete(agent_id)


FRAGILE = """
import json, sys
def send(**line): print(json.dumps(line))
for text in sys.stdin:
    line = json.loads(text)
    if line["type"] == "tool_request":
        send(type="tool_result", request_id=line["request_id"], result="noon")
    elif line["type"] == "message":
        if line["content"] == "die":
            sys.exit(7)
        send(type="usage", tokens=3)
        send(type="end", message_id=line["message_id"], content="yes")
"""


def test_pages_of_browsers_may_call(sentinel: Sentinel) -> None:
    headers = {"Origin": "http://elsewhere.example", "Access-Control-Request-Method": "POST"}
    reply = sentinel.http.options("/v1/agents", headers=headers)
    assert reply.status_code == 200 and reply.headers["access-control-allow-origin"] in ("*", headers["Origin"])


def test_unknown_paths_and_methods_have_the_documents_envelope(sentinel: Sentinel, sentinel_server: SctServer) -> None:
    for method, path, status in (
        ("GET", "/v1/nothing", 404),
        ("PUT", "/v1/agents", 405),
        ("DELETE", "/v1/images", 405),
    ):
        reply = sentinel.http.request(method, path)
        assert reply.status_code == status and set(reply.json()) == {"error"}, path
    assert sentinel.http.get("/v1/agents/").status_code == 200
