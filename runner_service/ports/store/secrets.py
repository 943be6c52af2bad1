"""Secrets, sealed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from runner_service.domain.secrets import Secret
from runner_service.ports.store.answers import Mark


class SecretStore(Protocol):
    """Secrets by name. Their values come sealed and go sealed; the store cannot read them."""

    async def put(self, name: str, sealed: bytes, *, by: str, mark: Mark | None = None) -> Secret:
        """Stores a value, in place of the one before. Stamps the times."""
        ...

    async def get(self, names: Collection[str]) -> Mapping[str, bytes]:
        """The sealed values of those that are there."""
        ...

    async def list(self) -> Sequence[Secret]:
        """All, in order of name."""
        ...

    async def delete(self, name: str, *, mark: Mark | None = None) -> None:
        """Raises `SecretNotFound`."""
        ...
