"""Bearer keys: those of the settings, those that the service made, and credentials of workers."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runner_service.domain.errors import (
    ApiKeyNotFound,
    CredentialExpired,
    CredentialsEmpty,
    CredentialsInvalid,
    CredentialsMissing,
    CredentialsScheme,
    RunnerDeleted,
    RunnerNotFound,
)
from runner_service.domain.jobs import Micros
from runner_service.domain.principals import Principal, Role
from runner_service.domain.worker_credentials import LIFE_SECONDS, OVERLAP_SECONDS, WorkerCredential
from runner_service.ports.clock import Clock
from runner_service.ports.store import ApiKeyStore, WorkerCredentialStore
from runner_service.services.runners import CREDENTIAL_PREFIX, REGISTRATION_PREFIX, digest_of

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
        return cls(name=name, role=role, digest=digest_of(key))

    @staticmethod
    def find(keys: Sequence[ApiKey], token: str) -> Principal | None:
        """Whose key it is, of these."""
        digest, found = digest_of(token), None
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
        workers: WorkerCredentialStore,
        issued: ApiKeyStore | None = None,
        clock: Clock | None = None,
        worker_life_seconds: float = LIFE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``issued`` keys need the ``clock``, for some expire."""
        self._keys = tuple(keys)
        self._workers = workers
        self._issued = issued
        self._clock = clock
        self._worker_life = worker_life_seconds
        self._monotonic = monotonic
        self._believed: dict[bytes, tuple[float, Principal]] = {}
        self._ends: dict[bytes, tuple[Micros, float]] = {}
        """By digest of a worker's credential: its end as the store has it, and on this process's own clock."""

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
        digest = digest_of(token)
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
        if believed is not None and believed[0] > self._monotonic():
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
        if believed is not None and believed[0] > self._monotonic():
            return believed[1]
        runner_id = token[len(CREDENTIAL_PREFIX) :][:_UUID_LENGTH]
        try:
            known = await self._workers.of(runner_id)
        except RunnerDeleted:
            raise
        except RunnerNotFound:
            raise CredentialsInvalid() from None
        found = None
        for credential in known.credentials:
            if hmac.compare_digest(credential.digest, digest):
                found = credential
        if found is None:
            raise CredentialsInvalid()
        left = self._seconds_left(found, known.now)
        if left <= 0:
            raise CredentialExpired(runner_id=runner_id)
        newest = known.credentials[-1]
        if found.nonce:
            # It is shown for the first time: that its worker has it is certain now.
            await self._workers.confirm(runner_id, found.number, overlap_seconds=OVERLAP_SECONDS)
        # Those before the newest are followed by it only while it may be that the worker was not told of it.
        outworn = left < self._worker_life / 2 and (found is newest or bool(newest.nonce))
        principal = Principal(
            name=f"runner:{known.name}", role=Role.WORKER, runner_id=runner_id, outworn=digest if outworn else b""
        )
        return self._believe(digest, principal, seconds=min(CACHE_SECONDS, left))

    def _seconds_left(self, credential: WorkerCredential, now: Micros) -> float:
        """Counted on this process's own clock from the first time that it was seen: when the wall clock is set, by
        however much, nobody who is in contact loses it by that, or keeps it longer."""
        end, by_own_clock = self._ends.get(credential.digest, (0, 0.0))
        if end != credential.expires_at:
            if len(self._ends) > _CACHED:
                self._ends.clear()
            by_own_clock = self._monotonic() + (credential.expires_at - now) / 1e6
            self._ends[credential.digest] = (credential.expires_at, by_own_clock)
        return by_own_clock - self._monotonic()

    def _believe(self, digest: bytes, principal: Principal, *, seconds: float) -> Principal:
        if len(self._believed) > _CACHED:
            self._believed.clear()
        self._believed[digest] = (self._monotonic() + seconds, principal)
        return principal
