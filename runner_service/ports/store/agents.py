"""Managed agents: what they are and have done. How their processes are, their jobs know."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from runner_service.domain.agents import Agent, AgentFinding, AgentView
from runner_service.domain.jobs import Job, JobState
from runner_service.ports.store.answers import Mark


class AgentStore(Protocol):
    """Managed agents. One goes with its job when that is deleted for its age."""

    async def create(self, agent: Agent, job: Job, *, fingerprint: str = "", queue_limit: int) -> AgentView:
        """Stores an agent and its job, both or none; see `JobStore.create`, also for a repeated request id.

        Raises:
            AlreadyExists, QueueFull: As there.
        """
        ...

    async def get(self, agent_id: str) -> AgentView:
        """Raises `AgentNotFound`, also for one that was removed."""
        ...

    async def list(self, *, states: Collection[JobState] = (), limit: int = 0, after: str = "") -> Sequence[AgentView]:
        """Agents that were not removed, newest first; those whose jobs are in one of ``states`` (empty: any).
        ``after``: the id of the last agent of the page before. ``limit`` 0: all.

        Raises:
            InvalidArgument: ``after`` is no agent.
        """
        ...

    async def remove(self, agent_id: str, *, mark: Mark | None = None) -> None:
        """Takes it out of every list. Raises `AgentNotFound`, also when it was removed before."""
        ...

    async def record(self, agent_id: str, findings: Sequence[AgentFinding]) -> bool:
        """Adds what was found in its output, in order, to its counts and to the events of its job. Passes over what is
        not behind all that was recorded before, so that of several readers of one output each finding counts once.
        Returns False when that was all. Raises `AgentNotFound`."""
        ...

    async def measure(self, attempt_id: str, memory_bytes: int) -> None:
        """Sets what an agent holds in memory, by the attempt that its processes are of. Others are passed over."""
        ...
