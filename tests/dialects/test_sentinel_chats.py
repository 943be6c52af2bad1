"""Chats as they are meant: several at once, each its own; complete, in order, and never silent about what fails."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from sct_server import ROOT, SctServer, until
from sentinel_client import CONFIG, Frame, Sentinel, ends, hear, hear_until, say
from websockets.asyncio.client import ClientConnection

sys.path.insert(0, str(ROOT / "tests" / "shipped"))

from model_server import model_server

CHATS, CHUNKS = 20, 1000

# An agent of which a test can ask anything.
PUPPET = """
import json, os, signal, sys, time
def send(**line): print(json.dumps(line))
print("ready", file=sys.stderr)
for text in sys.stdin:
    line = json.loads(text)
    if line["type"] == "close":
        print("closed", file=sys.stderr)
        continue
    ref, word = line.get("message_id"), line.get("content")
    if line["type"] == "tool_request":
        if line["tool"] == "broken":
            send(type="tool_result", request_id=line["request_id"], error="it is broken")
    elif word == "half":
        send(type="chunk", message_id=ref, content="half of an ans")
    elif word == "exit":
        send(type="chunk", message_id=ref, content="farewell")
        sys.exit(3)
    elif word == "nonsense":
        print("Traceback: something went wrong")
        send(type="end", message_id=ref, content="anyway")
    elif word == "fail":
        send(type="error", message_id=ref, error="I do not want to")
    elif word == "event":
        send(type="event", event_type="looking_up", message_id=ref, content="Looking up", data={"n": 1})
        send(type="end", message_id=ref, content="", tools_used=["lookup"])
    elif word == "pid":
        send(type="end", message_id=ref, content=str(os.getpid()))
    elif word == "child":
        pid = os.fork()
        if not pid:
            os.setsid()
            signal.pause()
        send(type="end", message_id=ref, content=str(pid))
    elif word == "environment":
        send(type="end", message_id=ref, content=json.dumps(dict(os.environ)))
    elif word == "files":
        send(type="end", message_id=ref, content=" ".join(sorted(os.listdir("."))))
"""


@pytest.fixture(scope="module")
def puppet(sentinel: Sentinel) -> str:
    sentinel.push(PUPPET, name="puppet", tools=["broken", "silent"], environment={"SET": "by the image", "GIVEN": "no"})
    return "puppet"


@pytest.fixture
def agent_id(sentinel: Sentinel, puppet: str) -> Iterator[str]:
    agent_id = sentinel.create(puppet, environment={"GIVEN": "by the request"})["id"]
    yield agent_id
    sentinel.http.delete(f"/v1/agents/{agent_id}")


async def ask(chat: ClientConnection, content: str, **members: Any) -> Frame:
    """The last frame of the answer."""
    await say(chat, type="message", content=content, **members)
    return (await hear_until(chat, ends))[-1]


async def test_twenty_chats_of_a_thousand_chunks_arrive_complete_and_in_order(sentinel: Sentinel) -> None:
    agent_id = sentinel.create()["id"]

    async def one(number: int) -> None:
        text = " ".join(f"{number}.{index}" for index in range(CHUNKS))
        async with sentinel.chat(agent_id) as chat:
            await hear(chat)
            await say(chat, type="message", content=text, message_id=f"m{number}")
            frames = await hear_until(chat, ends)
        chunks = [frame for frame in frames if frame["type"] == "stream_chunk"]
        assert [frame["chunk_index"] for frame in chunks] == list(range(CHUNKS))
        assert "".join(frame["content"] for frame in chunks) == text
        assert frames[-1]["type"] == "stream_end" and frames[-1]["content"] == text
        assert {frame["message_id"] for frame in frames} == {f"m{number}"}

    await asyncio.gather(*map(one, range(CHATS)))
    sentinel.delete(agent_id)


async def test_chats_with_one_agent_see_their_own_answers_alone(sentinel: Sentinel) -> None:
    agent_id = sentinel.create(parameters={"delay_seconds": 0.01})["id"]
    async with sentinel.chat(agent_id) as one, sentinel.chat(agent_id) as two, sentinel.events(agent_id) as events:
        for chat, text in ((one, "one one one one"), (two, "two two two two")):
            await hear(chat)
            # The same id in both: it is theirs, not ours.
            await say(chat, type="message", content=text, message_id="m")
        for chat, text in ((one, "one one one one"), (two, "two two two two")):
            frames = await hear_until(chat, ends)
            assert "".join(each["content"] for each in frames if each["type"] == "stream_chunk") == text
        for _ in range(2):
            told = await hear_until(events, lambda frame: frame["event_type"] == "message_processed")
            assert told[-1]["data"]["message_id"] == "m"
    sentinel.delete(agent_id)


async def test_several_messages_of_one_chat_are_answered_each_under_its_id(sentinel: Sentinel) -> None:
    agent_id = sentinel.create(parameters={"delay_seconds": 0.005})["id"]
    texts = {f"m{number}": " ".join([str(number)] * 5) for number in range(5)}
    async with sentinel.chat(agent_id) as chat:
        await hear(chat)
        for message_id, text in texts.items():
            await say(chat, type="message", content=text, message_id=message_id)
        ended: dict[str, str] = {}
        while len(ended) < len(texts):
            frame = await hear(chat)
            if frame["type"] == "stream_end":
                ended[frame["message_id"]] = frame["content"]
    assert ended == texts
    sentinel.delete(agent_id)


async def test_a_killed_agent_is_an_error_frame_and_a_true_status(sentinel: Sentinel, agent_id: str) -> None:
    async with sentinel.chat(agent_id) as chat, sentinel.events(agent_id) as events:
        await hear(chat)
        await hear(events)
        pid = int((await ask(chat, "pid"))["content"])
        await say(chat, type="message", content="half", message_id="m")
        await hear_until(chat, lambda frame: frame["type"] == "stream_chunk")
        os.kill(pid, signal.SIGKILL)
        frame = (await hear_until(chat, ends))[-1]
        assert (frame["type"], frame["message_id"]) == ("error", "m")
        assert frame["error"] == "The agent ended before it answered: killed by signal 9"
        assert sentinel.agent(agent_id)["status"] == "error"
        told = await hear_until(events, lambda frame: frame["event_type"] == "error")
        assert told[-2]["data"]["status"] == "error" and told[-1]["data"]["error"] == "killed by signal 9"
        # The chat stays and says so.
        assert (await hear(chat))["data"]["status"] == "error"
        assert (await ask(chat, "pid"))["error"].startswith(f"The agent {agent_id} is not running")


async def test_twenty_chats_are_told_of_a_kill_in_mid_answer_and_the_status_is_true_by_then(
    sentinel: Sentinel, agent_id: str
) -> None:
    async with AsyncExitStack() as stack:
        chats = [await stack.enter_async_context(sentinel.chat(agent_id)) for _ in range(CHATS)]
        for number, chat in enumerate(chats):
            await hear(chat)
            await say(chat, type="message", content="half", message_id=f"m{number}")
            await hear_until(chat, lambda frame: frame["type"] == "stream_chunk")
        pid = int((await ask(chats[0], "pid"))["content"])
        os.kill(pid, signal.SIGKILL)
        # Whoever hears of it first finds the status true at that very moment.
        first = await asyncio.wait([asyncio.ensure_future(hear(chat)) for chat in chats], return_when="FIRST_COMPLETED")
        assert sentinel.agent(agent_id)["status"] == "error"
        frames = [await task for done_or_not in first for task in done_or_not]
    assert {(frame["type"], frame["error"]) for frame in frames} == {
        ("error", "The agent ended before it answered: killed by signal 9")
    }
    assert sorted(frame["message_id"] for frame in frames) == sorted(f"m{number}" for number in range(CHATS))


async def test_an_agent_that_exits_in_mid_answer_says_so_behind_what_it_said(sentinel: Sentinel, agent_id: str) -> None:
    async with sentinel.chat(agent_id) as chat:
        await hear(chat)
        await say(chat, type="message", content="exit")
        frames = await hear_until(chat, ends)
    assert [frame["type"] for frame in frames] == ["event", "stream_start", "stream_chunk", "error"]
    assert frames[-1]["error"] == "The agent ended before it answered: exit code 3"
    until(lambda: sentinel.logs(agent_id)[-1]["message"] == "Agent failed: exit code 3", "the last line of its log")


async def test_what_an_agent_says_beside_an_answer_is_shown_as_what_it_is(sentinel: Sentinel, agent_id: str) -> None:
    async with sentinel.chat(agent_id) as chat:
        await hear(chat)
        await say(chat, type="message", content="nonsense", message_id="m")
        frames = await hear_until(chat, lambda frame: frame["type"] == "stream_end")
        (error,) = [frame for frame in frames if frame["type"] == "error"]
        assert "Traceback: something went wrong" in error["error"] and "message_id" not in error
        assert frames[-1]["content"] == "anyway"
        failed = await ask(chat, "fail", message_id="f")
        assert (failed["type"], failed["error"], failed["message_id"]) == ("error", "I do not want to", "f")
        await say(chat, type="message", content="event")
        frames = await hear_until(chat, ends)
        (event,) = [frame for frame in frames if frame.get("event_type") == "looking_up"]
        assert (event["content"], event["data"]) == ("Looking up", {"n": 1})
        assert (frames[-1]["content"], frames[-1]["tools_used"]) == ("", ["lookup"])
        assert [frame["type"] for frame in frames] == ["event", "event", "stream_start", "stream_end"]
        await say(chat, type="tool_request", tool="broken", parameters=[])
        result = await hear(chat)
        assert (result["status"], result["data"]) == ("error", {"error": "it is broken"})
    said = "Traceback: something went wrong"
    until(lambda: said in [entry["message"] for entry in sentinel.logs(agent_id)], "what it said in its log")


async def test_an_agent_has_its_files_and_its_variables_and_nothing_of_the_service(
    sentinel: Sentinel, agent_id: str
) -> None:
    async with sentinel.chat(agent_id) as chat:
        await hear(chat)
        assert (await ask(chat, "files"))["content"] == "agent.py"
        environment = json.loads((await ask(chat, "environment"))["content"])
    assert environment["SET"] == "by the image" and environment["GIVEN"] == "by the request"
    assert environment["RUNNER_AGENT_NAME"] == "Agent" and json.loads(environment["RUNNER_AGENT_PARAMETERS"]) == {}
    assert not [name for name in environment if name.startswith(("RUNNER_SERVER", "SCT_"))]


async def test_a_deleted_agent_is_gone_with_its_children(sentinel: Sentinel, agent_id: str) -> None:
    async with sentinel.chat(agent_id) as chat, sentinel.events(agent_id) as events:
        await hear(chat)
        pids = [int((await ask(chat, word))["content"]) for word in ("pid", "child")]
        assert all(map(psutil.pid_exists, pids))
        sentinel.delete(agent_id)
        told = await hear_until(events, lambda frame: frame.get("data", {}).get("status") == "stopped")
        assert told[-1]["content"] == "Agent Agent is stopped"
    until(lambda: not any(map(psutil.pid_exists, pids)), "the end of the whole tree")


async def test_an_agent_is_told_when_a_chat_has_ended(sentinel: Sentinel, agent_id: str) -> None:
    async with sentinel.chat(agent_id) as chat:
        await hear(chat)
        await ask(chat, "pid")
    until(lambda: "closed" in [entry["message"] for entry in sentinel.logs(agent_id)], "the line that says so")


async def test_the_agent_of_the_how_to_works_as_it_stands(sentinel: Sentinel) -> None:
    page = (ROOT / "docs" / "how-to" / "write-an-agent.md").read_text()
    program, manifest = (page.split(f"```{kind}\n", 1)[1].split("```", 1)[0] for kind in ("python", "json"))
    sentinel.push(program, name="backwards", **json.loads(manifest))
    agent_id = sentinel.create("backwards")["id"]
    async with sentinel.chat(agent_id) as chat:
        await hear(chat)
        assert (await ask(chat, "hello there"))["content"] == "olleh ereht "
        await say(chat, type="tool_request", tool="length", parameters={"text": "four"})
        assert (await hear(chat))["data"] == {"result": 4}
    sentinel.delete(agent_id)


async def test_a_model_server_talks_through_the_shipped_image(sentinel: Sentinel) -> None:
    with model_server() as model:
        environment = {"OPENAI_BASE_URL": model.url}
        agent = sentinel.create("openai-compatible", environment=environment, parameters={"model": "llama"})
        async with sentinel.chat(agent["id"]) as chat, sentinel.events(agent["id"]) as events:
            await hear(chat)
            await hear(events)
            await say(chat, type="message", content="hello there")
            frames = await hear_until(chat, ends)
            assert [frame.get("content") for frame in frames if frame["type"] == "stream_chunk"] == ["hello ", "there "]
            await hear_until(events, lambda frame: frame["event_type"] == "message_processed")
        async with sentinel.events(agent["id"]) as events:
            assert (await hear(events))["data"]["api_usage"] == {"requests": 1, "tokens": 11}
        assert model.asked[0]["model"] == "llama"
        sentinel.delete(agent["id"])


@pytest.mark.slow
async def test_a_silent_agent_is_an_error_frame(make_server: Callable[..., SctServer]) -> None:
    server = make_server(CONFIG | {"agents": {"silence_seconds": 0.3}})
    sentinel = Sentinel(server.url)
    sentinel.push(PUPPET, name="puppet", tools=["silent"])
    agent_id = sentinel.create("puppet")["id"]
    async with sentinel.chat(agent_id) as chat:
        await hear(chat)
        frame = await ask(chat, "half", message_id="m")
        assert frame["message_id"] == "m" and frame["error"].startswith("The agent has not answered for 0.3 seconds")
        await say(chat, type="tool_request", tool="silent", parameters={})
        frame = await hear(chat)
        assert frame["status"] == "error" and frame["data"]["error"].startswith("The agent has not answered")
    sentinel.delete(agent_id)
    sentinel.http.close()


@pytest.mark.slow
async def test_agents_and_what_they_did_outlive_the_server(
    make_server: Callable[..., SctServer], tmp_path: Path
) -> None:
    server = make_server(CONFIG)
    sentinel = Sentinel(server.url)
    sentinel.push(PUPPET, name="puppet")
    agent_id = sentinel.create("puppet")["id"]
    async with sentinel.chat(agent_id) as chat:
        await hear(chat)
        pid = (await ask(chat, "pid"))["content"]
    sentinel.http.close()
    server.kill()
    server.start()
    sentinel = Sentinel(server.url)
    assert sentinel.when(agent_id, "running")
    async with sentinel.chat(agent_id) as chat, sentinel.events(agent_id) as events:
        await hear(chat)
        assert (await hear(events))["data"]["api_usage"]["requests"] == 1
        assert (await ask(chat, "pid"))["content"] == pid
        assert (await hear(events))["event_type"] == "message_processed"
    async with sentinel.events(agent_id) as events:
        assert (await hear(events))["data"]["api_usage"]["requests"] == 2
    sentinel.delete(agent_id)
    sentinel.http.close()
