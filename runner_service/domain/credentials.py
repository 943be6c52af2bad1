"""What can be shown to be let in, as it is kept: never the secret, always a hash of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runner_service.domain.jobs import Micros
from runner_service.domain.principals import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedKey:
    """An API key that was made by the service."""

    key_id: str
    name: str
    """For people and the audit."""
    role: Role
    digest: bytes
    """SHA-256 of the key, whose secret part has 256 random bits."""
    created_at: Micros = 0
    created_by: str = ""
    expires_at: Micros | None = None
    revoked_at: Micros | None = None

    def valid_at(self, now: Micros) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A program with an id and a secret of its own, and what it may ask of the lab's queues."""

    client_id: str
    secret_hash: str
    """argon2, in its own encoding."""
    role: str = "contributor"
    """agent, contributor, manager or admin."""
    max_priority: Mapping[str, int] = field(default_factory=dict)
    """By queue; ``*`` stands for all."""
    allowed_queues: Sequence[str] = ()
    """Restricted queues that it may use."""
    max_reservation_time: Mapping[str, int] = field(default_factory=dict)
    """Seconds by queue; ``*`` stands for all."""
    email: str = ""
    built_in: bool = False
    """It stands in the settings and cannot be changed by calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshToken:
    """What a client gets new access tokens for."""

    digest: bytes
    """SHA-256 of the token, which has 36 random bytes."""
    client_id: str
    issued_at: Micros = 0
    used_at: Micros = 0
    """When it was last used; `issued_at` before the first time."""
    expires_at: Micros
    revoked_at: Micros | None = None
