"""Credentials of workers."""

from __future__ import annotations

from typing import Protocol

from runner_service.domain.worker_credentials import CredentialsOfWorker, WorkerCredential


class WorkerCredentialStore(Protocol):
    """Credentials of workers, by runner. The first comes with the registration (`RunnerStore.register_once`), and all
    of them go with the runner."""

    async def of(self, runner_id: str) -> CredentialsOfWorker:
        """Those that are kept.

        Raises:
            RunnerNotFound, RunnerDeleted: No such runner.
        """
        ...

    async def renew(
        self, runner_id: str, *, shown: bytes, digest: bytes, nonce: str, life_seconds: float, rejoins: bool = False
    ) -> WorkerCredential | None:
        """Returns the one that follows the one with the digest ``shown``: a newer one that has most of its life before
        it, as it was told before, else a new one of ``digest`` and ``nonce``. None when the worker has shown a newer
        one already, unless it ``rejoins``.

        Raises:
            RunnerNotFound, RunnerDeleted: No such runner.
            InvalidArgument: ``shown`` is none of its credentials.
        """
        ...

    async def confirm(self, runner_id: str, number: int, *, overlap_seconds: float) -> None:
        """The worker has shown this one: it need not be told again, and older ones end within the overlap. May be
        called again."""
        ...
