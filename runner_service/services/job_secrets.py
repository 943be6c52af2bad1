"""What jobs get of secrets: of the service's own, and of those that clients of labs keep."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from runner_service.domain.lab_secrets import places_of
from runner_service.services.queues import LabSecrets
from runner_service.services.secrets import Secrets


class JobSecrets:
    """All secrets that a job can name."""

    def __init__(self, secrets: Secrets, lab: LabSecrets | None = None) -> None:
        self._secrets = secrets
        self._lab = lab

    async def reveal(self, names: Collection[str], *, job_id: str) -> Mapping[str, bytes]:
        """The values of those that are there, that the job may have, and that can be read."""
        of_labs = places_of(list(names))
        values = dict(await self._secrets.reveal([name for name in names if name not in of_labs]))
        if of_labs and self._lab is not None:
            values.update(await self._lab.reveal(list(of_labs), job_id=job_id))
        return values
