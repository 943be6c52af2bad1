"""Bearer keys: those of the settings, those that the service made, and credentials of workers."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass

from runner_service.domain.errors import (
    ApiKeyNotFound,
    CredentialsEmpty,
    CredentialsInvalid,
    CredentialsMissing,
    CredentialsScheme,
    RunnerDeleted,
    RunnerNotFound,
)
from runner_service.domain.principals import Principal, Role
from runner_service.ports.clock import Clock
from runner_service.ports.store import ApiKeyStore, RunnerStore
from runner_service.services.runners import CREDENTIAL_PREFIX, REGISTRATION_PREFIX

KEY_PREFIX = "rk_"
"""Of keys that the service makes: their id comes next."""
CACHE_SECONDS = 30.0
"""How long a credential is believed without a look at the store."""
_CACHED = 100_000
_UUID_LENGTH = 36


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key of the settings; the key itself is not kept."""

    name: str
    role: Role
    digest: bytes

    @classmethod
    def of(cls, key: str, *, name: str, role: Role) -> ApiKey:
        return cls(name=name, role=role, digest=_digest(key))

    @staticmethod
    def find(keys: Sequence[ApiKey], token: str) -> Principal | None:
        """Whose key it is, of these."""
        digest, found = _digest(token), None
        for key in keys:
            # No early exit: the time tells nothing about which key, or how much of it, was right.
            if hmac.compare_digest(key.digest, digest):
                found = key
        return None if found is None else Principal(name=found.name, role=found.role)


class Auth:
    """Tells who calls from the ``authorization`` header."""

    def __init__(
        self,
        *,
        keys: Sequence[ApiKey],
        runners: RunnerStore,
        issued: ApiKeyStore | None = None,
        clock: Clock | None = None,
    ) -> None:
        """``issued`` keys need the ``clock``, for some expire."""
        self._keys = tuple(keys)
        self._runners = runners
        self._issued = issued
        self._clock = clock
        self._believed: dict[bytes, tuple[float, Principal]] = {}

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
        return await self.key(token)

    async def key(self, token: str) -> Principal:
        """Tells whose key it is. Raises `CredentialsInvalid`."""
        token = token.removeprefix(REGISTRATION_PREFIX)
        digest = _digest(token)
        if token.startswith(CREDENTIAL_PREFIX):
            return await self._worker(token, digest)
        if token.startswith(KEY_PREFIX) and self._issued is not None:
            return await self._made(token, digest)
        found = ApiKey.find(self._keys, token)
        if found is None:
            raise CredentialsInvalid()
        return found

    def forget(self, digest: bytes) -> None:
        """The store is asked the next time: the key was revoked."""
        self._believed.pop(digest, None)

    async def _made(self, token: str, digest: bytes) -> Principal:
        assert self._issued is not None and self._clock is not None
        believed = self._believed.get(digest)
        if believed is not None and believed[0] > time.monotonic():
            return believed[1]
        try:
            key = await self._issued.get(token[len(KEY_PREFIX) :][:_UUID_LENGTH])
        except ApiKeyNotFound:
            raise CredentialsInvalid() from None
        now = self._clock.now()
        if not hmac.compare_digest(key.digest, digest) or not key.valid_at(now):
            raise CredentialsInvalid()
        left = CACHE_SECONDS if key.expires_at is None else (key.expires_at - now) / 1e6
        return self._believe(digest, Principal(name=key.name, role=key.role), seconds=min(CACHE_SECONDS, left))

    async def _worker(self, token: str, digest: bytes) -> Principal:
        believed = self._believed.get(digest)
        if believed is not None and believed[0] > time.monotonic():
            return believed[1]
        runner_id = token[len(CREDENTIAL_PREFIX) :][:_UUID_LENGTH]
        try:
            runner = await self._runners.get(runner_id)
        except RunnerDeleted:
            raise
        except RunnerNotFound:
            raise CredentialsInvalid() from None
        if not hmac.compare_digest(runner.credential_hash, digest):
            raise CredentialsInvalid()
        principal = Principal(name=f"runner:{runner.name}", role=Role.WORKER, runner_id=runner_id)
        return self._believe(digest, principal, seconds=CACHE_SECONDS)

    def _believe(self, digest: bytes, principal: Principal, *, seconds: float) -> Principal:
        if len(self._believed) > _CACHED:
            self._believed.clear()
        self._believed[digest] = (time.monotonic() + seconds, principal)
        return principal


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
