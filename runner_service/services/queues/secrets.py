"""Use cases of secrets that clients of labs keep: set, delete, and what a job of theirs gets."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

from runner_service.domain.jobs import Micros
from runner_service.domain.lab_secrets import LabSecret, SecretPlace, places_of
from runner_service.domain.secrets import check_value
from runner_service.ports.clock import Clock
from runner_service.ports.store import LabSecretStore
from runner_service.services.sealing import Sealer, Unsealable

log = logging.getLogger(__name__)

TAKEN_SECONDS = 8 * 86_400
"""An ephemeral secret is kept so long for the job that has got it: longer than a job may last."""


class LabSecrets:
    """Secrets of clients of labs: sealed, for the jobs of their client alone, never shown again."""

    def __init__(self, *, store: LabSecretStore, sealer: Sealer, clock: Clock) -> None:
        self._store = store
        self._sealer = sealer
        self._clock = clock

    async def put(self, place: SecretPlace, value: str, *, seconds: int | None, ephemeral: bool) -> Micros | None:
        """Stores a value and returns when it expires; None: never. ``ephemeral``: for the first job that gets it alone.

        Raises:
            InvalidArgument: It cannot be kept out of logs, or is too large.
        """
        checked = check_value(value.encode())
        expires_at = None if ephemeral or seconds is None else self._clock.now() + seconds * 1_000_000
        sealed = self._sealer.seal(place.reference(), checked)
        await self._store.put(LabSecret(place=place, sealed=sealed, expires_at=expires_at, ephemeral=ephemeral))
        return expires_at

    async def delete(self, place: SecretPlace) -> None:
        """Deletes it, if it is there."""
        await self._store.delete(place)

    async def missing(self, client_id: str, paths: Collection[str]) -> Sequence[str]:
        """Those of the paths where the client has no secret for a new job, in order."""
        places = {SecretPlace(client_id, path) for path in paths}
        found = await self._store.accessible(places)
        return sorted(place.path for place in places if place not in found)

    async def values(self, client_id: str, wanted: Mapping[str, str], *, job_id: str) -> Mapping[str, str]:
        """What a job gets: by variable, given the paths by variable. Empty where a secret is gone."""
        references = {name: SecretPlace(client_id, path).reference() for name, path in wanted.items()}
        found = await self.reveal(list(references.values()), job_id=job_id)
        return {name: found.get(reference, b"").decode() for name, reference in references.items()}

    async def reveal(self, references: Sequence[str], *, job_id: str) -> Mapping[str, bytes]:
        """The values of those that the job may have and that can be read, by reference."""
        places = places_of(references)
        if not places:
            return {}
        sealed = await self._store.take(set(places.values()), job_id=job_id)
        values = {}
        for reference, place in places.items():
            if place in sealed:
                try:
                    values[reference] = self._sealer.open(reference, sealed[place])
                except Unsealable:
                    log.error("A lab's secret was sealed with another key.", extra={"action": "secret_unreadable"})
        return values

    async def expire(self) -> None:
        """Deletes what has expired."""
        await self._store.expire(taken_before=self._clock.now() - TAKEN_SECONDS * 1_000_000)
