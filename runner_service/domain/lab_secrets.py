"""Secrets that clients of labs keep for their own jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

from runner_service.domain.jobs import Micros

_PREFIX: Final = "lab/"


class SecretPlace(NamedTuple):
    """Where a secret lies: each client has paths of its own."""

    client_id: str
    path: str

    def reference(self) -> str:
        """As a job names it among the secrets that it wants. No secret of the service has such a name."""
        return f"{_PREFIX}{quote(self.client_id, safe='')}/{self.path}"


def places_of(references: Sequence[str]) -> dict[str, SecretPlace]:
    """The references among these that are to secrets of labs."""
    found = {}
    for reference in references:
        if reference.startswith(_PREFIX):
            client_id, _, path = reference.removeprefix(_PREFIX).partition("/")
            found[reference] = SecretPlace(unquote(client_id), path)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSecret:
    """A secret as it is stored: sealed."""

    place: SecretPlace
    sealed: bytes
    expires_at: Micros | None = None
    ephemeral: bool = False
    """For one job alone: the first that gets it."""
