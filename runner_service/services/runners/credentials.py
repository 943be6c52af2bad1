"""Credentials of workers: made, followed by another, and made anew for a worker that stayed away too long."""

from __future__ import annotations

import hashlib
import secrets

from runner_service.domain.principals import Principal
from runner_service.domain.worker_credentials import LIFE_SECONDS
from runner_service.ports.store import WorkerCredentialStore
from runner_service.services.sealing import Sealer

CREDENTIAL_PREFIX = "rw_"
REGISTRATION_PREFIX = "reg_token_"
"""May stand before a credential: so RustCI shows it."""


class RunnerCredentials:
    """Derives them, so that one whose telling was lost is told again; the store has hashes."""

    def __init__(self, *, store: WorkerCredentialStore, sealer: Sealer, life_seconds: float = LIFE_SECONDS) -> None:
        self._store = store
        self._sealer = sealer
        self.life_seconds = life_seconds

    def derive(self, runner_id: str, nonce: str) -> str:
        """The credential of a runner that a nonce stands for."""
        return f"{CREDENTIAL_PREFIX}{runner_id}_{self._sealer.derive(runner_id, nonce)}"

    async def keeps(self, runner_id: str, credential: str) -> bool:
        """Tells whether the store has it. Raises `RunnerNotFound`."""
        return digest_of(credential) in [one.digest for one in (await self._store.of(runner_id)).credentials]

    async def next_of(self, principal: Principal) -> str:
        """The one that the worker is to show from now on; empty as long as it may keep what it shows."""
        return await self._after(principal.runner_id, principal.outworn) if principal.outworn else ""

    async def anew(self, runner_id: str, credential: str) -> str:
        """One for a worker whose own has expired, and that shows it.

        Raises:
            RunnerNotFound: No such runner.
            InvalidArgument: It was never this runner's, or too long ago.
        """
        return await self._after(runner_id, digest_of(credential.removeprefix(REGISTRATION_PREFIX)), rejoins=True)

    async def _after(self, runner_id: str, shown: bytes, *, rejoins: bool = False) -> str:
        while True:
            nonce = new_nonce()
            digest = digest_of(self.derive(runner_id, nonce))
            told = await self._store.renew(
                runner_id,
                shown=shown,
                digest=digest,
                nonce=nonce,
                life_seconds=self.life_seconds,
                rejoins=rejoins,
            )
            if told is None:
                return ""
            credential = self.derive(runner_id, told.nonce)
            if digest_of(credential) == told.digest:
                return credential
            shown = told.digest  # The service's key was changed since it was told first: one follows that, too.


def new_nonce() -> str:
    return secrets.token_urlsafe(32)


def digest_of(credential: str) -> bytes:
    """What is kept of it."""
    return hashlib.sha256(credential.encode("utf-8", "surrogateescape")).digest()
