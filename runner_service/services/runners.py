"""Use cases of runners: register and read."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence

from runner_service.domain.errors import InvalidArgument
from runner_service.domain.ids import new_id
from runner_service.domain.requests import MAX_NAME, MAX_TAGS
from runner_service.domain.runners import Runner, RunnerState
from runner_service.ports.clock import Clock
from runner_service.ports.store import RunnerStore

CREDENTIAL_PREFIX = "rw_"
MAX_SLOTS = 10_000


class Runners:
    """The machines that jobs run on."""

    def __init__(self, *, store: RunnerStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def register(
        self, *, name: str, labels: Mapping[str, str], slots: int, local: bool = False
    ) -> tuple[Runner, str]:
        """Stores a new runner and returns it with the credential of its worker, which is kept nowhere else.

        Raises:
            InvalidArgument: Names the field.
        """
        if not name or len(name) > MAX_NAME:
            raise InvalidArgument(field="name", problem=f"give 1 to {MAX_NAME} characters")
        if len(labels) > MAX_TAGS:
            raise InvalidArgument(field="labels", problem=f"at most {MAX_TAGS} are taken")
        if not 1 <= slots <= MAX_SLOTS:
            raise InvalidArgument(field="slots", problem=f"give a number from 1 to {MAX_SLOTS}")
        runner_id = new_id()
        credential = f"{CREDENTIAL_PREFIX}{runner_id}_{secrets.token_urlsafe(32)}"
        runner = Runner(
            runner_id=runner_id,
            name=name,
            state=RunnerState.ACTIVE,
            registered_at=0,
            credential_hash=hashlib.sha256(credential.encode()).digest(),
            labels=labels,
            slots=slots,
            local=local,
        )
        return await self._store.register(runner), credential

    async def get(self, runner_id: str) -> Runner:
        """Returns one runner. Raises `RunnerNotFound`."""
        return await self._store.get(runner_id)

    async def list(self, *, limit: int, after: str = "") -> Sequence[Runner]:
        """Returns runners in order of name."""
        return await self._store.list(limit=limit, after=after)

    def online(self, runner: Runner) -> bool:
        """Tells whether the server counts on it: its lease has not run out."""
        return runner.lease_until > self._clock.now()
