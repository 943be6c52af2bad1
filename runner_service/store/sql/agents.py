"""Managed agents: each method hands one query function to the engine."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from runner_service.domain.agents import Agent, AgentFinding, AgentView
from runner_service.domain.jobs import Job, JobState
from runner_service.ports.store import Mark
from runner_service.store import agents
from runner_service.store.engine import Engine


class SqlAgents:
    """`AgentStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def create(self, agent: Agent, job: Job, *, fingerprint: str = "", queue_limit: int) -> AgentView:
        return await self._engine.write(agents.create, agent, job, fingerprint, queue_limit)

    async def get(self, agent_id: str) -> AgentView:
        return await self._engine.read(agents.get, agent_id)

    async def list(self, *, states: Collection[JobState] = (), limit: int = 0, after: str = "") -> Sequence[AgentView]:
        return await self._engine.read(agents.list_agents, states, limit, after)

    async def remove(self, agent_id: str, *, mark: Mark | None = None) -> None:
        await self._engine.write(agents.remove, agent_id, mark)

    async def record(self, agent_id: str, findings: Sequence[AgentFinding]) -> bool:
        return await self._engine.write(agents.record, agent_id, findings)

    async def measure(self, attempt_id: str, memory_bytes: int) -> None:
        await self._engine.write(agents.measure, attempt_id, memory_bytes)
