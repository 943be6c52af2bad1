"""Agents that are talked with: how soon a chat hears of its agent's death, and how fast answers come through."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
from typing import Any

import httpx
import psutil
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.figures import Stopwatch
from benchmarks.report import Goal, Row
from benchmarks.server import Server, serve

CHATS, CHUNKS = 20, 1_000


async def measure(quick: bool) -> list[Row]:
    """From SIGKILL to the error frame and the status behind it; and 20 chats that stream at one time."""
    with serve() as server:
        async with httpx.AsyncClient(base_url=f"http://{server.http}", timeout=30, trust_env=False) as http:
            return [await _deaths(server, http, rounds=5 if quick else 50), await _streams(http)]


async def _deaths(server: Server, http: httpx.AsyncClient, *, rounds: int) -> Row:
    samples = []
    for _ in range(rounds):
        agent = (await http.post("/v1/agents", json={"image": "echo", "parameters": {"delay_seconds": 5}})).json()
        async with connect(agent["endpoints"]["chat"], proxy=None) as chat:
            await _hear(chat, "event")
            await chat.send(json.dumps({"type": "message", "content": "one two three"}))
            await _hear(chat, "stream_chunk")
            os.kill(_process_of(server), signal.SIGKILL)
            watch = Stopwatch()
            await _hear(chat, "error")
            status = (await http.get(f"/v1/agents/{agent['id']}")).json()["status"]
            samples.append(watch.seconds)
            if status != "error":
                raise AssertionError(f"the chat was told of the death, and the status is {status}")
        await http.delete(f"/v1/agents/{agent['id']}")
    return Row(
        what="agent killed in mid-answer → error frame and true status",
        ours=max(samples) * 1e3,
        unit="ms",
        goal=Goal("ours", "lower", 1_000.0),
        how=f"worst of {rounds}; p50 {statistics.median(samples) * 1e3:.0f} ms",
    )


async def _streams(http: httpx.AsyncClient) -> Row:
    agent = (await http.post("/v1/agents", json={"image": "echo"})).json()
    text = " ".join(map(str, range(CHUNKS)))

    async def one() -> None:
        async with connect(agent["endpoints"]["chat"], proxy=None) as chat:
            await _hear(chat, "event")
            await chat.send(json.dumps({"type": "message", "content": text}))
            await _hear(chat, "stream_end")

    watch = Stopwatch()
    await asyncio.gather(*(one() for _ in range(CHATS)))
    seconds = watch.seconds
    await http.delete(f"/v1/agents/{agent['id']}")
    return Row(
        what=f"{CHATS} chats with one agent, {CHUNKS} chunks each",
        ours=CHATS * CHUNKS / seconds,
        unit="chunks/s",
        how=f"all of them in {seconds:.1f} s",
    )


async def _hear(chat: ClientConnection, kind: str) -> dict[str, Any]:
    while True:
        frame: dict[str, Any] = json.loads(await chat.recv())
        if frame["type"] == kind:
            return frame


def _process_of(server: Server) -> int:
    """Of the only agent that runs."""
    supervisor: psutil.Process = server.processes()["supervisor"]
    (found,) = [child for child in supervisor.children(recursive=True) if "agent.py" in " ".join(child.cmdline())]
    return int(found.pid)
