"""The way out: names are resolved and calls are made through it, so that tests can stand in for the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A URL that may be called, with the address that was looked at: nothing is resolved again."""

    url: str
    secure: bool
    host: str
    """As the URL has it: for the Host header and the certificate."""
    port: int
    address: str
    path: str
    """With the query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the other side said."""

    status: int
    content_type: str
    body: bytes
    """At most `services.webhooks.MAX_ANSWER_BYTES`; more is cut off."""


class Outside(Protocol):
    """The network."""

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a host, best first. Raises ``OSError`` when there is none."""
        ...

    async def call(
        self, target: Target, *, method: str, body: bytes, headers: Mapping[str, str], timeout_seconds: float
    ) -> Answer:
        """Calls the address of the target, never another, and follows no redirect. Raises ``OSError`` (``TimeoutError``
        among them) when there is no answer in time."""
        ...
