"""Agents of labs, and runners of our own that serve queues as if they were agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner_service.domain.errors import InvalidArgument
from runner_service.domain.queues import LabAgent, ProvisionLog, queues_of
from runner_service.domain.requests import MAX_NAME
from runner_service.domain.runners import Runner, RunnerState
from runner_service.ports.clock import Clock
from runner_service.ports.store import LabAgentStore, RunnerStore
from runner_service.ports.store.lab_agents import NOTHING


class LabAgents:
    """Use cases of agents, the queues that they advertise, and their restrictions."""

    def __init__(self, *, store: LabAgentStore, runners: RunnerStore, clock: Clock) -> None:
        self._store = store
        self._runners = runners
        self._clock = clock

    async def post(
        self,
        name: str,
        changes: Mapping[str, Any],
        *,
        log: Sequence[str] = (),
        client_id: str = "",
        extra: Mapping[str, str] = NOTHING,
    ) -> None:
        """Sets what is known of an agent; see `LabAgentStore.post`. Raises `AgentTaken`, `InvalidArgument`."""
        _check(name)
        await self._store.post(name, changes, log=log, client_id=client_id, extra=extra)

    async def get(self, name: str) -> LabAgent:
        """Raises `LabAgentNotFound`."""
        return await self._store.get(name)

    async def list(self) -> Sequence[LabAgent]:
        """All agents, then the runners of our own that serve queues, by name."""
        known = list(await self._store.list())
        names = {agent.name for agent in known}
        ours = [self._as_agent(runner) for runner in await self._runners.list(limit=0) if queues_of(runner.labels)]
        return sorted((*known, *(agent for agent in ours if agent.name not in names)), key=lambda agent: agent.name)

    async def serving(self, queue: str) -> Sequence[LabAgent]:
        """Those that serve a queue."""
        return [agent for agent in await self.list() if queue in agent.queues]

    async def is_known(self, queue: str) -> bool:
        """Somebody advertised the queue, or serves it."""
        return queue in await self._store.advertised() or bool(await self.serving(queue))

    def _as_agent(self, runner: Runner) -> LabAgent:
        # Today's command line submits nothing to a queue whose agents are all offline or under maintenance.
        if runner.lease_until <= self._clock.now():
            state = "offline"
        elif runner.state is not RunnerState.ACTIVE or runner.told.paused or not runner.capacity:
            state = "maintenance"
        else:
            state = "waiting"
        return LabAgent(
            name=runner.name,
            state=state,
            queues=tuple(queues_of(runner.labels)),
            provision_type="runner",
            identifier=runner.runner_id,
            updated_at=runner.last_seen_at,
        )

    async def add_provision_log(self, name: str, entry: ProvisionLog) -> None:
        """See `LabAgentStore.add_provision_log`."""
        _check(name)
        await self._store.add_provision_log(name, entry)

    async def advertise(self, descriptions: Mapping[str, str]) -> None:
        """Sets descriptions of queues; others stay."""
        await self._store.advertise(descriptions)

    async def advertised(self) -> Mapping[str, str]:
        """All queues with a description."""
        return await self._store.advertised()

    async def set_images(self, images: Mapping[str, str]) -> None:
        """Sets the images of queues (JSON text of an object); others stay."""
        await self._store.set_images(images)

    async def images(self, queue: str) -> str:
        """JSON text of an object."""
        return await self._store.images(queue) or "{}"

    async def restricted(self) -> Mapping[str, Sequence[str]]:
        """Queues that only their owners may push to."""
        return await self._store.restricted()

    async def restrict(self, queue: str, client_id: str) -> bool:
        """Makes a client an owner. False: nobody knows the queue, so that it may be a typing error."""
        if not await self.is_known(queue) and await self._store.owners(queue) is None:
            return False
        await self._store.restrict(queue, client_id)
        return True

    async def release(self, queue: str, client_id: str | None) -> bool:
        """See `LabAgentStore.release`."""
        return await self._store.release(queue, client_id)

    async def expire(self, *, keep_seconds: float) -> None:
        """Forgets agents that were not heard of for so long."""
        await self._store.expire(updated_before=self._clock.now() - round(keep_seconds * 1e6))


def _check(name: str) -> None:
    if not name or len(name) > MAX_NAME:
        raise InvalidArgument(field="agent_name", problem=f"give 1 to {MAX_NAME} characters")
