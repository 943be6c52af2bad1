"""Secrets of clients of labs, sealed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from runner_service.domain.jobs import Micros
from runner_service.domain.lab_secrets import LabSecret, SecretPlace


class LabSecretStore(Protocol):
    """Secrets by place. Their values come sealed and go sealed; the store cannot read them."""

    async def put(self, secret: LabSecret) -> None:
        """Stores it, in place of the one before."""
        ...

    async def accessible(self, places: Collection[SecretPlace]) -> Collection[SecretPlace]:
        """Those that are there: not expired, and not an ephemeral one that a job has got."""
        ...

    async def take(self, places: Collection[SecretPlace], *, job_id: str) -> Mapping[SecretPlace, bytes]:
        """The sealed values of those that the job may have. An ephemeral one is its own from then on, however often it
        asks, and nobody else's."""
        ...

    async def delete(self, place: SecretPlace) -> None:
        """Deletes it, if it is there."""
        ...

    async def expire(self, *, taken_before: Micros) -> int:
        """Deletes what has expired, and ephemeral ones that were taken before then. How many they were."""
        ...
