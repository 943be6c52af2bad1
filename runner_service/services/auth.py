"""Who calls: API keys of the settings and credentials of workers."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from runner_service.domain.errors import (
    CredentialsEmpty,
    CredentialsInvalid,
    CredentialsMissing,
    CredentialsScheme,
    PermissionDenied,
    RunnerNotFound,
)
from runner_service.ports.store import RunnerStore
from runner_service.services.runners import CREDENTIAL_PREFIX

CACHE_SECONDS = 30.0
"""How long a worker's credential is believed without a look at the store."""
_UUID_LENGTH = 36


class Role(IntEnum):
    """What a credential may do. The numbers are those of ``runner.gateway.v1.Role``."""

    NONE = 0
    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3
    WORKER = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who calls, as far as the credential says."""

    name: str
    role: Role
    runner_id: str = ""
    """For the credential of a worker: its runner."""

    def may(self, needed: Role) -> bool:
        """Each role includes those below it; WORKER stands alone, but ADMIN may register workers too."""
        if needed is Role.WORKER:
            return self.role in (Role.WORKER, Role.ADMIN)
        return self.role is not Role.WORKER and self.role >= needed


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key of the settings; the key itself is not kept."""

    name: str
    role: Role
    digest: bytes

    @classmethod
    def of(cls, key: str, *, name: str, role: Role) -> ApiKey:
        return cls(name=name, role=role, digest=hashlib.sha256(key.encode()).digest())


class Auth:
    """Tells who calls from the ``authorization`` header."""

    def __init__(self, *, keys: Sequence[ApiKey], runners: RunnerStore) -> None:
        self._keys = tuple(keys)
        self._runners = runners
        self._believed: dict[bytes, tuple[float, Principal]] = {}

    @property
    def has_keys(self) -> bool:
        """Anybody could be let in from another machine."""
        return bool(self._keys)

    async def authenticate(self, authorization: str | None) -> Principal:
        """Reads ``Bearer KEY``; the scheme's case counts, as it does for SCT's clients.

        Raises:
            CredentialsMissing, CredentialsScheme, CredentialsEmpty, CredentialsInvalid: What is wrong with it.
        """
        if authorization is None:
            raise CredentialsMissing()
        if not authorization.startswith("Bearer "):
            raise CredentialsScheme()
        token = authorization[len("Bearer ") :].strip()
        if not token:
            raise CredentialsEmpty()
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        if token.startswith(CREDENTIAL_PREFIX):
            return await self._worker(token, digest)
        found = None
        for key in self._keys:
            # No early exit: the time tells nothing about which key, or how much of it, was right.
            if hmac.compare_digest(key.digest, digest):
                found = key
        if found is None:
            raise CredentialsInvalid()
        return Principal(name=found.name, role=found.role)

    async def _worker(self, token: str, digest: bytes) -> Principal:
        believed = self._believed.get(digest)
        if believed is not None and believed[0] > time.monotonic():
            return believed[1]
        runner_id = token[len(CREDENTIAL_PREFIX) :][:_UUID_LENGTH]
        try:
            runner = await self._runners.get(runner_id)
        except RunnerNotFound:
            raise CredentialsInvalid() from None
        if not hmac.compare_digest(runner.credential_hash, digest):
            raise CredentialsInvalid()
        principal = Principal(name=f"runner:{runner.name}", role=Role.WORKER, runner_id=runner_id)
        if len(self._believed) > 100_000:
            self._believed.clear()
        self._believed[digest] = (time.monotonic() + CACHE_SECONDS, principal)
        return principal


def demand(principal: Principal, needed: Role) -> None:
    """Raises `PermissionDenied` unless the principal has the role."""
    if not principal.may(needed):
        raise PermissionDenied(needed=needed.name.lower(), role=principal.role.name.lower())
