"""A service of agents on a store of its own, and the program that an agent is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services_house import SOON, House, Worker

from runner_service.domain.agents import AgentView
from runner_service.domain.chats import ChatFrame
from runner_service.domain.outcomes import Outcome
from runner_service.services.agents import (
    AgentEvent,
    AgentEvents,
    AgentLinks,
    AgentLogs,
    Agents,
    Chat,
    Chats,
    NewAgent,
)
from runner_service.services.images import Images


@dataclass
class Replica:
    """The agents' part of one server."""

    links: AgentLinks
    agents: Agents
    chats: Chats
    events: AgentEvents
    logs: AgentLogs


@dataclass
class Place:
    """Everything of a test."""

    house: House
    images: Images
    directory: Path
    silence: float = 60.0
    replicas: list[Replica] = field(default_factory=list)

    def replica(self) -> Replica:
        store, signals = self.house.store, self.house.store.signals
        links = AgentLinks(
            store=store.agents, images=self.images, reader=self.house.reader, stdin=self.house.inputs, signals=signals
        )
        self.replicas.append(
            Replica(
                links=links,
                agents=Agents(
                    store=store.agents, jobs=self.house.jobs, images=self.images, links=links, signals=signals
                ),
                chats=Chats(
                    store=store.agents,
                    links=links,
                    signals=signals,
                    clock=self.house.clock,
                    silence_seconds=self.silence,
                ),
                events=AgentEvents(store=store.agents, jobs=store.jobs, signals=signals, clock=self.house.clock),
                logs=AgentLogs(store=store.agents, logs=store.logs, reader=self.house.reader),
            )
        )
        return self.replicas[-1]


class Program:
    """The agent's process: what a test writes for it, and what it was given."""

    def __init__(self, worker: Worker, attempt_id: str, view: AgentView) -> None:
        self._worker = worker
        self._attempt_id = attempt_id
        self._offset = view.agent.manifest.files_bytes
        self._next = 0

    async def write(self, *lines: bytes | dict[str, Any]) -> None:
        texts = [line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines]
        await self._worker.write(self._attempt_id, *texts, first=self._next)
        self._next += len(texts)

    async def read(self) -> dict[str, Any]:
        """The next line of the input, behind the image's files."""
        store, (fence, _) = self._worker.house.store, self._worker.held[self._attempt_id]
        async with asyncio.timeout(SOON):
            while True:
                found = await store.inputs.read(self._attempt_id, fence, offset=self._offset, limit=1)
                if found:
                    self._offset = found[0].behind
                    line: dict[str, Any] = json.loads(found[0].record.payload)
                    return line
                await asyncio.sleep(0.01)

    async def end(self, outcome: Outcome) -> None:
        await self._worker.finish(self._attempt_id, outcome)


async def start(place: Place, replica: Replica, **fields: Any) -> tuple[AgentView, Program]:
    """An agent whose process runs."""
    view = await replica.agents.create(NewAgent(**{"image": "puppet", "name": "demo", **fields}))
    worker = await place.house.worker()
    return view, Program(worker, await worker.start(), view)


@asynccontextmanager
async def talking(replica: Replica, view: AgentView) -> AsyncIterator[tuple[Chat, Callable[[], Any]]]:
    """A chat, and what gives its next frame."""
    async with replica.chats.open(view.agent.agent_id) as chat:
        frames = chat.frames()

        async def hear() -> ChatFrame:
            return await asyncio.wait_for(anext(frames), SOON)

        assert (await hear()).event_type == "connection_established"
        yield chat, hear


async def next_of(events: AsyncIterator[AgentEvent]) -> AgentEvent:
    return await asyncio.wait_for(anext(events), SOON)
