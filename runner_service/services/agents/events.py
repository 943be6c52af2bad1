"""What happens to an agent, from the one log of events: moves of its job as its status, and what it did."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runner_service.domain.agents import AGENT_EVENT, AgentStatus, AgentView, read_note, status_of_state
from runner_service.domain.errors import AgentNotFound
from runner_service.domain.jobs import JobEvent, Micros
from runner_service.ports.clock import Clock
from runner_service.ports.signals import Signals, job_topic
from runner_service.ports.store import AgentStore, JobStore

STATUS_EVENT = "agent_status"
EVENTS_AT_ONCE = 500
_POLL_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentEvent:
    """Something that happened to an agent, or that it did."""

    sequence: int
    """Of the log of events: go on behind it and nothing is missed."""
    at: Micros
    event_type: str
    content: str
    data: Mapping[str, Any]


class AgentEvents:
    """Reads the events of agents."""

    def __init__(self, *, store: AgentStore, jobs: JobStore, signals: Signals, clock: Clock) -> None:
        self._store = store
        self._jobs = jobs
        self._signals = signals
        self._clock = clock

    async def watch(self, agent_id: str, *, after: int = 0) -> AsyncIterator[AgentEvent]:
        """Yields events behind ``after`` as they come; with 0, first how the agent is now, then what comes. Goes on
        when the process is over; ends, with the status STOPPED, when the agent is removed. Raises `AgentNotFound`."""
        with self._signals.subscribe(job_topic(agent_id)) as waiter:
            # In this order: what happens in between is told once more, and not missed.
            newest = after or await self._jobs.last_event()
            view = await self._store.get(agent_id)
            shown = None
            if not after:
                shown = view.status
                yield self.status_of(view, sequence=newest, at=self._clock.now())
            after = newest
            while True:
                events = await self._jobs.events(after=after, limit=EVENTS_AT_ONCE, job_id=agent_id)
                try:
                    view = await self._store.get(agent_id)
                except AgentNotFound:
                    yield self.status_of(view, sequence=after, at=self._clock.now(), status=AgentStatus.STOPPED)
                    return
                for event in events:
                    for told in self._tell(event, view, shown):
                        yield told
                    after = event.sequence
                    shown = status_of_state(event.state)
                if not events:
                    await waiter.wait(_POLL_SECONDS)

    def status_of(self, view: AgentView, *, sequence: int, at: Micros, status: AgentStatus | None = None) -> AgentEvent:
        """How an agent is, as an event."""
        agent = view.agent
        word = (status or view.status).value
        data = {
            "agent_id": agent.agent_id,
            "agent_name": agent.name,
            "status": word,
            "memory": memory_text(agent.memory_bytes),
            "api_usage": {"requests": agent.requests, "tokens": agent.tokens},
        }
        return AgentEvent(
            sequence=sequence, at=at, event_type=STATUS_EVENT, content=f"Agent {agent.name} is {word}", data=data
        )

    def _tell(self, event: JobEvent, view: AgentView, shown: AgentStatus | None) -> Iterator[AgentEvent]:
        if event.kind.startswith(AGENT_EVENT):
            note = read_note(event.kind, event.detail)
            yield AgentEvent(
                sequence=event.sequence, at=event.at, event_type=note.kind, content=note.content, data=note.data
            )
            return
        status = status_of_state(event.state)
        if status is shown:
            return
        yield self.status_of(view, sequence=event.sequence, at=event.at, status=status)
        if status is AgentStatus.ERROR:
            yield AgentEvent(
                sequence=event.sequence,
                at=event.at,
                event_type="error",
                content=f"Agent {view.agent.name} failed",
                data={"agent_id": view.agent.agent_id, "error": view.problem},
            )


def memory_text(size: int) -> str:
    """Mebibytes, as the agents' own API shows them."""
    return f"{round(size / (1 << 20))}MB"
