"""Gives queued jobs to parked workers: one batched claim at a time, however many workers wait."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from itertools import islice

from runner_service.domain.dispatch import Assignment, Want
from runner_service.ports.signals import EVENTS, QUEUE, Signals, Waiter, job_topic, runner_topic
from runner_service.ports.store import DispatchStore

log = logging.getLogger(__name__)

WANTS_PER_CLAIM = 500
"""Bounds one transaction; the rest of the workers come in the next."""
LOOK_SECONDS = 1.0
"""With workers waiting the queue is looked at this often even without a hint: a retry delay that ends sends none."""


class Claimer:
    """The one claimer of this server. `run` is its task; `want` may be called from any other."""

    def __init__(self, *, store: DispatchStore, signals: Signals) -> None:
        self._store = store
        self._signals = signals
        self._waiting: dict[str, tuple[Want, asyncio.Future[Sequence[Assignment]]]] = {}
        self._arrived = asyncio.Event()
        self._waiter: Waiter | None = None
        self.stopped = False

    def stop(self) -> None:
        """Hands out no more work: the server stops. Wants may still be entered, and wait."""
        self.stopped = True

    def want(self, want: Want) -> asyncio.Future[Sequence[Assignment]]:
        """Enters a worker. The future resolves to at least one assignment; cancel it to leave. A later want of the
        same runner takes the place of the earlier one, whose future is cancelled."""
        self.leave(want.runner_id)
        future: asyncio.Future[Sequence[Assignment]] = asyncio.get_running_loop().create_future()
        self._waiting[want.runner_id] = (want, future)
        self._arrived.set()
        if self._waiter is not None:
            self._waiter.wake()
        return future

    def leave(self, runner_id: str) -> None:
        """Takes a worker's want back, if it has one."""
        entry = self._waiting.pop(runner_id, None)
        if entry is not None:
            entry[1].cancel()

    async def run(self) -> None:
        """Claims for ever. Errors of the store are logged and tried again: workers stay parked meanwhile."""
        while True:
            await self._arrived.wait()
            # While somebody waits for work, and no longer: so it can be told whether a new job is in a hurry.
            with self._signals.subscribe(QUEUE) as waiter:
                self._waiter = waiter
                self._arrived.clear()
                while self._waiting and not self.stopped:
                    try:
                        await self._claim_for_all()
                    except Exception:
                        log.exception("cannot claim jobs, trying again", extra={"action": "claim_failed"})
                        await asyncio.sleep(LOOK_SECONDS)
                        continue
                    if not self._arrived.is_set() and self._waiting:
                        await waiter.wait(LOOK_SECONDS)
                    self._arrived.clear()

    async def _claim_for_all(self) -> None:
        tried: set[str] = set()
        while batch := list(islice((key for key in self._waiting if key not in tried), WANTS_PER_CLAIM)):
            tried.update(batch)
            wants = [self._waiting[runner_id][0] for runner_id in batch]
            assignments = await self._store.claim(wants)
            if assignments:
                self._signals.publish((EVENTS, *(job_topic(one.job.job_id) for one in assignments)))
            by_runner: dict[str, list[Assignment]] = {}
            for assignment in assignments:
                by_runner.setdefault(assignment.attempt.runner_id, []).append(assignment)
            for runner_id, given in by_runner.items():
                entry = self._waiting.pop(runner_id, None)
                if entry is not None and not entry[1].done():
                    entry[1].set_result(given)
                else:
                    # The worker left while the claim was under way. Its Sync, or its next one, looks at the store
                    # again and finds the same attempts there; if there is none, the sweeper takes them back.
                    self._signals.publish((runner_topic(runner_id),))
