"""Agents of labs, the queues that they advertise, and who may push to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from runner_service.domain.queues import LabAgent, ProvisionLog

NOTHING: Mapping[str, str] = MappingProxyType({})


class LabAgentStore(Protocol):
    """Agents and advertised queues."""

    async def post(
        self,
        name: str,
        changes: Mapping[str, Any],
        *,
        log: Sequence[str] = (),
        client_id: str = "",
        extra: Mapping[str, str] = NOTHING,
    ) -> None:
        """Sets fields of `LabAgent` by name, and appends to its log, of which the last 100 lines are kept. An agent
        that is not known is made. It is a sign of life: the lease of its job counts from now. ``extra``: members
        (name → JSON text) that mean nothing to us, kept as they came.

        Raises:
            InvalidArgument: What is kept for it beyond the known gets too large.
            AgentTaken: It belongs to another credential than ``client_id``.
        """
        ...

    async def get(self, name: str) -> LabAgent:
        """Raises `LabAgentNotFound`."""
        ...

    async def list(self) -> Sequence[LabAgent]:
        """All agents by name, without their logs."""
        ...

    async def add_provision_log(self, name: str, entry: ProvisionLog) -> None:
        """Notes how a provision ended, and the agent's streak; an unknown agent is made. Keeps the last 100."""
        ...

    async def provision_logs(self, name: str) -> Sequence[ProvisionLog]:
        """Oldest first."""
        ...

    async def advertise(self, descriptions: Mapping[str, str]) -> None:
        """Sets descriptions of queues; others stay."""
        ...

    async def set_images(self, images: Mapping[str, str]) -> None:
        """Sets the images (JSON text of an object) of queues; others stay."""
        ...

    async def advertised(self) -> Mapping[str, str]:
        """All queues with a description."""
        ...

    async def images(self, queue: str) -> str:
        """JSON text of an object; empty: none known."""
        ...

    async def restricted(self) -> Mapping[str, Sequence[str]]:
        """Queues that only their owners may push to, with their owners."""
        ...

    async def owners(self, queue: str) -> Sequence[str] | None:
        """The owners of a restricted queue; None: it is open to all."""
        ...

    async def restrict(self, queue: str, client_id: str) -> None:
        """Makes ``client_id`` an owner of a queue that is restricted from then on. Repeated, it changes nothing."""
        ...

    async def release(self, queue: str, client_id: str | None) -> bool:
        """Takes an owner away: the queue stays restricted, also without any. With None, opens a queue that has no owner
        left. Tells whether there was such a thing to do."""
        ...

    async def expire(self, *, updated_before: int) -> None:
        """Forgets agents that were not heard of since, and descriptions and images of queues that nobody told of since
        and no agent serves. Restrictions stay."""
        ...
