"""All queues of a lab at one look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner_service.services.queues.agents import LabAgents
from runner_service.services.queues.queues import Queues


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueInfo:
    """A queue."""

    name: str
    description: str
    waiting: int
    running: int
    serving: Sequence[str]
    """Names of agents and runners that serve it and are there."""
    owners: Sequence[str] | None
    """Who may push to it; None: everybody."""


async def list_queues(queues: Queues, agents: LabAgents) -> Sequence[QueueInfo]:
    """Queues that are advertised, served, restricted, or have jobs, by name."""
    described, restricted = await agents.advertised(), await agents.restricted()
    counts = await queues.counts()
    serving: dict[str, list[str]] = {}
    for agent in await agents.list():
        for queue in agent.queues:
            serving.setdefault(queue, [])
            if agent.shown_state != "offline":
                serving[queue].append(agent.name)
    return [
        QueueInfo(
            name=name,
            description=described.get(name, ""),
            waiting=counts.get(name, (0, 0))[0],
            running=counts.get(name, (0, 0))[1],
            serving=serving.get(name, ()),
            owners=restricted.get(name),
        )
        for name in sorted({*described, *restricted, *counts, *serving})
    ]
