"""Use cases of secrets: set, list, delete, and what a job that starts gets.

Values are sealed before the store sees them, each bound to its name: a value that was moved to another name in the
database cannot be read.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

from runner_service.domain.errors import InvalidArgument
from runner_service.domain.secrets import Secret, check_name, check_value
from runner_service.ports.store import Mark, SecretStore
from runner_service.services.sealing import Sealer, Unsealable

log = logging.getLogger(__name__)


class Secrets:
    """Secrets of the service."""

    def __init__(self, *, store: SecretStore, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer

    async def set(self, name: str, value: bytes, *, by: str = "", mark: Mark | None = None) -> Secret:
        """Stores a value. Raises `InvalidArgument` for a name or value that cannot be."""
        check_name(name)
        return await self._store.put(name, self._sealer.seal(name, check_value(value)), by=by, mark=mark)

    async def list(self) -> Sequence[Secret]:
        """All, in order of name, without their values."""
        return await self._store.list()

    async def delete(self, name: str, *, mark: Mark | None = None) -> None:
        """Raises `SecretNotFound`."""
        await self._store.delete(name, mark=mark)

    async def check(self, wanted: Mapping[str, str]) -> None:
        """Raises `InvalidArgument` when a secret that a variable is to get is not there."""
        if wanted:
            found = await self._store.get(set(wanted.values()))
            for variable, name in wanted.items():
                if name not in found:
                    problem = f"there is no secret {name}: set it with `runner secrets set {name}`"
                    raise InvalidArgument(field=f"secrets.{variable}", problem=problem)

    async def reveal(self, names: Collection[str]) -> Mapping[str, bytes]:
        """The values of those that are there and can be read."""
        values = {}
        for name, sealed in (await self._store.get(names)).items():
            try:
                values[name] = self._sealer.open(name, sealed)
            except Unsealable:
                log.error(
                    "The secret %s was sealed with another key than this server has: set it again, or give all servers "
                    "of one store the same security.secrets_key_file.",
                    name,
                    extra={"action": "secret_unreadable"},
                )
        return values
