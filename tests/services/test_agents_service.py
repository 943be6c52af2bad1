"""Agents over the real store, on both engines, with a worker that writes what a test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from agents_house import Place, Program, next_of, start, talking
from services_house import SOON, House

from runner_service.blobs.directory import DirectoryBlobs
from runner_service.domain.agents import AgentStatus
from runner_service.domain.chats import FrameKind
from runner_service.domain.errors import AgentNotFound, InvalidArgument, JobFinished, ResourceExhausted
from runner_service.domain.images import ImageManifest, Tool
from runner_service.domain.jobs import JobState
from runner_service.domain.outcomes import Outcome, OutcomeKind
from runner_service.services.agents import (
    NewAgent,
)
from runner_service.services.agents import chat as chat_module
from runner_service.services.agents import logs as logs_module
from runner_service.services.images import Images, PackedFile

KILLED = Outcome(kind=OutcomeKind.SIGNALED, signal=9)


@pytest.fixture
async def place(house: House, tmp_path: Path) -> AsyncIterator[Place]:
    images = Images(store=house.store.images, blobs=DirectoryBlobs(tmp_path / "images"))
    manifest = ImageManifest(
        entrypoint=("agent",), model="m", parameters='{"a": 1.50, "b": 2}', tools=(Tool(name="clock"),)
    )
    await images.add(manifest, {"agent": PackedFile(b"#!/bin/sh\n", executable=True)}, name="puppet")
    place = Place(house, images, tmp_path)
    yield place
    for replica in place.replicas:
        await replica.links.close()


async def test_an_agent_is_made_from_its_image(place: Place) -> None:
    replica = place.replica()
    view = await replica.agents.create(
        NewAgent(image="puppet", parameters='{"b": 3.0, "name": "n", "big": 9007199254740993}')
    )
    agent, spec = view.agent, view.job.spec
    assert (agent.name, agent.model, agent.agent_id) == ("n", "m", view.job.job_id)
    assert agent.parameters == '{"a":1.50,"b":3.0,"name":"n","big":9007199254740993}'
    assert spec.environment["RUNNER_AGENT_PARAMETERS"] == agent.parameters
    assert spec.stdin == "PIPE" and spec.steps[0].argv[-1] == "agent"
    status = await place.house.inputs.status(agent.agent_id)
    async with asyncio.timeout(SOON):
        while status.next_offset < agent.manifest.files_bytes:
            await asyncio.sleep(0.01)
            status = await place.house.inputs.status(agent.agent_id)
    assert status.next_offset == agent.manifest.files_bytes > 0


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"image": ""}, "image"),
        ({"parameters": "[1]"}, "parameters"),
        ({"parameters": "{"}, "parameters"),
        ({"environment": {"A=B": "x"}}, "environment"),
        ({"name": "x" * 201}, "name"),
        ({"secrets": {"KEY": "NEVER_SET"}}, "secrets.KEY"),
    ],
)
async def test_a_bad_request_names_its_field(place: Place, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        await place.replica().agents.create(NewAgent(**{"image": "puppet", **fields}))
    assert error.value.metadata["field"] == field
    assert list(await place.house.store.agents.list()) == []


async def test_an_answer_comes_through_the_log_as_frames_in_order(place: Place) -> None:
    replica = place.replica()
    view, program = await start(place, replica)
    async with talking(replica, view) as (chat, hear):
        chat.say("hello", message_id="m:1")
        assert (await hear()).event_type == "thinking"
        line = await program.read()
        assert (line["type"], line["content"]) == ("message", "hello")
        ref = line["message_id"]
        # However the runner reads the pipe.
        text = b"".join(
            json.dumps(each).encode() + b"\n"
            for each in (
                {"type": "chunk", "message_id": ref, "content": "a"},
                {"type": "chunk", "message_id": ref, "content": "b"},
                {"type": "usage", "tokens": 5},
                {"type": "end", "message_id": ref},
            )
        )
        await program.write(text[:30], text[30:33], text[33:])
        kinds = [await hear() for _ in range(4)]
        assert [frame.kind for frame in kinds] == [
            FrameKind.STREAM_START, FrameKind.STREAM_CHUNK, FrameKind.STREAM_CHUNK, FrameKind.STREAM_END,
        ]  # fmt: skip
        assert {frame.message_id for frame in kinds} == {"m:1"} and kinds[-1].content == "ab"
        chat.use_tool("clock", {"zone": "UTC"}, request_id="q:1")
        line = await program.read()
        assert (line["type"], line["tool"], line["parameters"]) == ("tool_request", "clock", {"zone": "UTC"})
        await program.write({"type": "tool_result", "request_id": line["request_id"], "result": 12})
        frame = await hear()
        assert (frame.kind, frame.request_id, frame.ok, frame.data) == (
            FrameKind.TOOL_RESULT, "q:1", True, {"result": 12},
        )  # fmt: skip
    assert (await program.read())["type"] == "close"


async def test_what_was_said_before_the_process_is_there_is_answered_when_it_is(place: Place) -> None:
    replica = place.replica()
    view = await replica.agents.create(NewAgent(image="puppet"))
    async with talking(replica, view) as (chat, hear):
        for text in ("one", "two"):
            chat.say(text, stream=False)
            assert (await hear()).event_type == "thinking"
        worker = await place.house.worker()
        program = Program(worker, await worker.start(), view)
        for text in ("one", "two"):
            line = await program.read()
            assert line["content"] == text
            await program.write({"type": "end", "message_id": line["message_id"], "content": text.upper()})
            frame = await hear()
            assert (frame.kind, frame.content) == (FrameKind.RESPONSE, text.upper())


async def test_the_end_of_the_process_is_told_to_whoever_waits(place: Place) -> None:
    replica = place.replica()
    view, program = await start(place, replica)
    async with talking(replica, view) as (chat, hear), talking(replica, view) as (_, overhear):
        chat.say("hello", message_id="m")
        await hear()
        await program.read()
        await program.end(KILLED)
        frame = await hear()
        assert (frame.kind, frame.message_id) == (FrameKind.ERROR, "m")
        assert frame.error == "The agent ended before it answered: killed by signal 9"
        for listen in (hear, overhear):
            told = await listen()
            assert told.event_type == "agent_status" and told.data["status"] == "error"
        chat.say("anybody?", message_id="n")
        assert (await hear()).event_type == "thinking"
        assert "is not running (killed by signal 9)" in (await hear()).error
    view = await replica.agents.get(view.agent.agent_id)
    assert (view.status, view.problem) == (AgentStatus.ERROR, "killed by signal 9")


async def test_nobody_waits_to_say_something_to_an_agent_that_is_over(place: Place) -> None:
    replica = place.replica()
    view, program = await start(place, replica)
    link = replica.links.of(view)
    async with talking(replica, view) as (chat, hear):
        chat.say("hello", message_id="m")
        await hear()
        await program.read()
        await program.end(KILLED)
        assert (await hear()).error == "The agent ended before it answered: killed by signal 9"
        with pytest.raises(JobFinished):  # at once, and so the chat closes at once
            await asyncio.wait_for(link.send(b"{}"), SOON)


async def test_an_agent_that_ended_can_be_visited_and_says_so(place: Place) -> None:
    replica = place.replica()
    view, program = await start(place, replica)
    await program.end(KILLED)
    async with talking(place.replica(), view) as (chat, hear):
        chat.say("hello")
        await hear()
        assert "is not running" in (await hear()).error


async def test_silence_ends_the_waiting_and_what_comes_late_is_passed_over(place: Place) -> None:
    place.silence = 0.05
    replica = place.replica()
    view, program = await start(place, replica)
    async with talking(replica, view) as (chat, hear):
        chat.say("hello", message_id="m")
        await hear()
        late = (await program.read())["message_id"]
        frame = await hear()
        assert frame.message_id == "m" and "has not answered for 0.05 seconds" in frame.error
        await program.write({"type": "end", "message_id": late, "content": "late"})
        chat.say("again", message_id="n")
        frames = [await hear()]
        ref = (await program.read())["message_id"]
        await program.write({"type": "end", "message_id": ref, "content": "in time"})
        while frames[-1].kind not in (FrameKind.STREAM_END, FrameKind.ERROR):
            frames.append(await hear())
        assert all(frame.message_id == "n" for frame in frames)


async def test_two_servers_read_one_agent_and_count_once(place: Place) -> None:
    one, two = place.replica(), place.replica()
    view, program = await start(place, one)
    agent_id = view.agent.agent_id
    events = one.events.watch(agent_id)
    assert (await next_of(events)).data["status"] == "running"
    async with talking(one, view) as (chat, hear), talking(two, view) as (other, overhear):
        for talk, listen in ((chat, hear), (other, overhear)):
            talk.say("hello", message_id="m", stream=False)
            await listen()
            ref = (await program.read())["message_id"]
            await program.write({"type": "usage", "tokens": 3}, {"type": "end", "message_id": ref, "content": "yes"})
            assert (await listen()).content == "yes"
            event = await next_of(events)
            assert (event.event_type, event.data["message_id"]) == ("message_processed", "m")
    await program.end(KILLED)
    told = [await next_of(events) for _ in range(2)]
    assert [event.event_type for event in told] == ["agent_status", "error"]
    agent = (await one.agents.get(agent_id)).agent
    assert (agent.requests, agent.tokens) == (2, 6)


async def test_events_go_on_behind_any_of_them(place: Place) -> None:
    replica = place.replica()
    view, program = await start(place, replica)
    agent_id = view.agent.agent_id
    await program.write({"type": "event", "event_type": "warmed_up", "content": "Ready", "data": {"n": 1}})
    events = replica.events.watch(agent_id, after=1)
    seen = [await next_of(events)]
    while seen[-1].event_type != "warmed_up":
        seen.append(await next_of(events))
    assert [event.data.get("status") for event in seen[:-1]] == ["creating", "running"][-len(seen[:-1]) :]
    assert dict(seen[-1].data) == {"n": 1, "agent_id": agent_id}
    resumed = replica.events.watch(agent_id, after=seen[-2].sequence)
    assert await next_of(resumed) == seen[-1]
    await replica.agents.delete(agent_id, by="user")
    last = await next_of(resumed)
    assert last.data["status"] == "stopped"
    with pytest.raises(StopAsyncIteration):
        await next_of(resumed)
    with pytest.raises(AgentNotFound):
        await next_of(replica.events.watch(agent_id))


async def test_a_deleted_agent_is_cancelled_and_gone(place: Place) -> None:
    replica = place.replica()
    view, _ = await start(place, replica)
    agent_id = view.agent.agent_id
    watching = replica.agents.watch()
    changed, gone = await asyncio.wait_for(anext(watching), SOON)
    assert [each.agent.agent_id for each in changed] == [agent_id] and gone == []
    await replica.agents.delete(agent_id, by="user")
    with pytest.raises(AgentNotFound):
        await replica.agents.delete(agent_id, by="user")
    job = await place.house.store.jobs.get(agent_id)
    assert job.state is JobState.RUNNING and job.cancel is not None
    while not gone:
        changed, gone = await asyncio.wait_for(anext(watching), SOON)
    assert gone == [agent_id]


async def test_who_waits_for_a_deleted_agent_hears_of_its_end(place: Place) -> None:
    replica = place.replica()
    view, program = await start(place, replica)
    async with talking(replica, view) as (chat, hear):
        chat.say("hello", message_id="m")
        await hear()
        ref = (await program.read())["message_id"]
        await replica.agents.delete(view.agent.agent_id, by="user")
        await program.write({"type": "usage", "tokens": 1}, {"type": "chunk", "message_id": ref, "content": "wh"})
        assert [(await hear()).kind for _ in range(2)] == [FrameKind.STREAM_START, FrameKind.STREAM_CHUNK]
        await program.end(KILLED)
        assert (await hear()).error == "The agent ended before it answered: stopped"
        assert (await hear()).data["status"] == "stopped"


async def test_logs_hold_what_was_written_and_what_happened_in_order_of_time(place: Place) -> None:
    replica = place.replica()
    view, program = await start(place, replica)
    await program.write(
        b"plain words\n",
        {"type": "log", "level": "warning", "message": "hot"},
        {"type": "chunk", "message_id": "x", "content": "not for the log"},
    )
    await program.end(KILLED)
    entries = await replica.logs.read(view.agent.agent_id, limit=100)
    assert [(entry.level, entry.message) for entry in entries] == [
        ("info", "plain words"),
        ("warning", "hot"),
        ("info", "Agent created from puppet"),
        ("info", "Agent started"),
        ("error", "Agent failed: killed by signal 9"),
    ]
    assert len(await replica.logs.read(view.agent.agent_id, limit=2)) == 2
    later = await replica.logs.read(view.agent.agent_id, limit=9, since=place.house.clock.now())
    assert later[0].message == "Agent created from puppet"


async def test_of_a_long_log_the_end_is_shown_from_a_whole_line_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs_module, "TAIL_BYTES", 100)
    replica = place.replica()
    view, program = await start(place, replica)
    for number in range(50):
        await program.write(f"line {number} be".encode(), b"gins and ends\n")
    entries = await replica.logs.read(view.agent.agent_id, limit=100)
    written = [entry.message for entry in entries if entry.message.startswith("line")]
    assert 1 < len(written) < 10 and written[-1] == "line 49 begins and ends"
    assert all(message.endswith(" begins and ends") for message in written)


async def test_a_client_that_does_not_read_is_let_go(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_module, "MAX_WAITING_FRAMES", 5)
    replica = place.replica()
    view, _ = await start(place, replica)
    async with replica.chats.open(view.agent.agent_id) as chat:
        for _ in range(10):
            chat.refuse("too much")
        with pytest.raises(ResourceExhausted):
            async for _ in chat.frames():
                pass


async def test_a_half_closed_chat_ends_when_all_is_answered(place: Place) -> None:
    replica = place.replica()
    view, program = await start(place, replica)
    async with talking(replica, view) as (chat, hear):
        chat.say("hello")
        chat.finish()
        assert (await hear()).event_type == "thinking"
        ref = (await program.read())["message_id"]
        await program.write({"type": "end", "message_id": ref})
        assert [(await hear()).kind for _ in range(2)] == [FrameKind.STREAM_START, FrameKind.STREAM_END]
        with pytest.raises(StopAsyncIteration):
            await hear()
