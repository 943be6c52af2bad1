"""The server's side of the worker protocol (DESIGN.md §5): beat, offer, confirm, cancel, report, expire."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from runner_service.domain.dispatch import Action, Assignment, Beat, DispatchTimes, Moved, Order, Report, Verdict, Want
from runner_service.domain.errors import StaleSync
from runner_service.ports.signals import EVENTS, QUEUE, Signals, Waiter, job_topic, log_topic, runner_topic
from runner_service.ports.store import DispatchStore
from runner_service.services.claimer import Claimer
from runner_service.services.logs.tails import LogTails

log = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0
"""Between looks for unconfirmed assignments and leases that ran out."""


class Phase(IntEnum):
    """How far a worker is with an attempt. The numbers are those of ``runner.v1.HeldAttempt.Phase``."""

    HELD = 1
    STARTED = 2
    ENDING = 3
    ENDED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncAnswer:
    """What a Sync brings back."""

    parked_seconds: float
    """From the arrival of the call to the renewal of the lease that the answer speaks of."""
    orders: Sequence[Order]
    followed: Sequence[str]
    """Attempts of the worker whose log somebody follows now."""


@dataclass(slots=True)
class _Call:
    """A Sync under way."""

    superseded: bool = False
    reported: set[str] = field(default_factory=set)
    """Attempts whose report was accepted meanwhile: the report's own answer told the worker to forget them."""
    freed: asyncio.Event = field(default_factory=asyncio.Event)
    """A report has made room since the call last looked."""


class Dispatch:
    """Keeps workers and the store in agreement. Holds nothing that matters: parked calls and hints only."""

    def __init__(
        self,
        *,
        store: DispatchStore,
        signals: Signals,
        claimer: Claimer,
        tails: LogTails,
        times: DispatchTimes,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._signals = signals
        self._claimer = claimer
        self._tails = tails
        self._monotonic = monotonic
        self.times = times
        self._calls: dict[str, _Call] = {}
        self._attempts: dict[str, dict[str, str]] = {}
        """Of each runner: attempt id → job id, as its last beat had them; to know whom to wake."""
        self._told_followed: dict[str, Sequence[str]] = {}
        """Of each runner: what its last answer said is followed."""
        self._stopping = False

    def stop(self) -> None:
        """Lets every parked Sync return, and no later one park: the server stops."""
        self._stopping = True
        self._signals.publish([runner_topic(runner_id) for runner_id in self._calls])

    async def sync(self, beat: Beat, phases: Mapping[str, Phase]) -> SyncAnswer:
        """One Sync of a worker: answers at once when there is news for it, else parks until there is.

        Raises:
            RunnerNotFound: It must register again.
            StaleWorker: A later worker has its identity.
            StaleSync: A newer call of the same worker came in.
        """
        arrived = self._monotonic()
        call = _Call()
        earlier = self._calls.get(beat.runner_id)
        if earlier is not None:
            earlier.superseded = True
            self._signals.publish((runner_topic(beat.runner_id),))
        self._calls[beat.runner_id] = call
        try:
            with self._signals.subscribe(runner_topic(beat.runner_id)) as waiter:
                return await self._park(beat, phases, arrived, call, waiter)
        finally:
            if self._calls.get(beat.runner_id) is call:
                del self._calls[beat.runner_id]
                self._claimer.leave(beat.runner_id)

    async def _park(
        self, beat: Beat, phases: Mapping[str, Phase], arrived: float, call: _Call, waiter: Waiter
    ) -> SyncAnswer:
        deadline = arrived + (self.times.park_busy if phases else self.times.park_idle)
        while True:
            renewed = self._monotonic()
            _, orders, moved = await self._store.beat(beat)
            self._wake_for_beat(beat.runner_id, orders, moved)
            given: Sequence[Assignment] = ()
            changed = False
            while not (changed or given or self._stopping):
                orders = [order for order in orders if order.attempt_id not in call.reported]
                left = deadline - self._monotonic()
                news = any(_is_news(order, phases) for order in orders)
                if left <= 0 or news or self._followed_news(beat, phases):
                    break
                call.freed.clear()
                given, changed = await self._wait(beat, _free(beat, orders, phases), left, call, waiter)
                if call.superseded:
                    raise StaleSync()
                # Room made by a report alone needs no second look at the store: what is left of the orders still holds.
                changed = changed or (not given and not call.freed.is_set())
            if changed:
                continue
            # So that whoever waits is told when a later beat shows that the worker did not take it.
            followed = self._told_followed[beat.runner_id] = self._followed(phases)
            offered = {one.attempt.attempt_id: one.job.job_id for one in given}
            self._attempts.setdefault(beat.runner_id, {}).update(offered)
            return SyncAnswer(
                # The worker counts its lease from here. Counting from the renewal, not from the answer, keeps its count
                # ahead of the store's without a second write.
                parked_seconds=renewed - arrived,
                orders=[*orders, *map(_offer, given)],
                followed=followed,
            )

    def _followed(self, phases: Mapping[str, Phase]) -> Sequence[str]:
        return [attempt_id for attempt_id in phases if self._signals.followed(log_topic(attempt_id))]

    def _followed_news(self, beat: Beat, phases: Mapping[str, Phase]) -> bool:
        """Somebody began to follow a log of which the worker still thinks that nobody does."""
        told = self._told_followed.get(beat.runner_id, ())
        return any(attempt_id not in told for attempt_id in self._followed(phases))

    async def _wait(
        self, beat: Beat, free: int, left: float, call: _Call, waiter: Waiter
    ) -> tuple[Sequence[Assignment], bool]:
        """Waits for work, room, a change or the end of the park. Returns what was assigned, and whether something
        changed that only the store can tell."""
        changed = asyncio.ensure_future(waiter.wait(left))
        freed = asyncio.ensure_future(call.freed.wait())
        wanted: asyncio.Future[Sequence[Assignment]] | None = None
        if free > 0:
            wanted = self._claimer.want(Want(runner_id=beat.runner_id, labels=beat.labels, count=free))
        try:
            awaited: list[asyncio.Future[Any]] = [changed, freed, *([] if wanted is None else [wanted])]
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            if wanted is not None and wanted.done() and not wanted.cancelled():
                return wanted.result(), False
            return (), changed.done() and changed.result()
        finally:
            changed.cancel()
            freed.cancel()
            if wanted is not None and not wanted.done():
                self._claimer.leave(beat.runner_id)

    def _wake_for_beat(self, runner_id: str, orders: Sequence[Order], moved: Sequence[Moved]) -> None:
        """Tells those who wait what the beat changed: attempts confirmed, attempts that are gone."""
        now = {order.attempt_id: order.job.job_id for order in orders if order.job is not None}
        gone = [(job_id, attempt_id) for job_id, attempt_id in moved if attempt_id not in now]
        # Those that ended by other ways since, e.g. by a sweep.
        gone += [
            (job_id, attempt_id)
            for attempt_id, job_id in self._attempts.get(runner_id, {}).items()
            if attempt_id not in now
        ]
        topics = [job_topic(job_id) for job_id, _ in moved]
        for job_id, attempt_id in gone:
            topics += (job_topic(job_id), log_topic(attempt_id), QUEUE)
            self._tails.settle(attempt_id)
        self._attempts[runner_id] = now
        if topics:
            self._signals.publish((*topics, EVENTS))

    async def report(self, reports: Sequence[Report]) -> Sequence[Verdict]:
        """Takes reports of ended attempts; see `DispatchStore.report`."""
        verdicts = await self._store.report(reports)
        topics: list[str] = []
        for report, verdict in zip(reports, verdicts, strict=True):
            topics.append(log_topic(report.attempt_id))
            self._tails.settle(report.attempt_id)
            if verdict is not Verdict.LOG_MISSING:
                call = self._calls.get(report.runner_id)
                if call is not None:
                    call.reported.add(report.attempt_id)
                    call.freed.set()
                job_id = self._attempts.get(report.runner_id, {}).pop(report.attempt_id, "")
                topics += (job_topic(job_id), EVENTS, QUEUE)
        self._signals.publish(topics)
        return verdicts

    async def sweep(self) -> None:
        """Takes back what was never confirmed and ends what was lost, for ever."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                released = await self._store.release_unconfirmed(older_than_seconds=self.times.confirm)
                expired = await self._store.expire_leases(kill_budget_seconds=self.times.kill_budget)
                outwaited = await self._store.expire_queued()
            except Exception:
                log.exception("cannot sweep leases, trying again", extra={"action": "sweep_failed"})
                continue
            for job_id in released:
                log.warning("assignment was not confirmed", extra={"action": "unconfirmed", "job_id": job_id})
            for job_id in expired:
                log.warning("runner was lost with a job", extra={"action": "lease_expired", "job_id": job_id})
            for job_id in outwaited:
                log.info("job waited too long", extra={"action": "queue_timeout", "job_id": job_id})
            if moved := (*released, *expired, *outwaited):
                self._signals.publish((QUEUE, EVENTS, *map(job_topic, moved)))


def _is_news(order: Order, phases: Mapping[str, Phase]) -> bool:
    """Tells whether an order asks for something that the worker's list does not show yet."""
    phase = phases.get(order.attempt_id)
    if order.action is Action.RUN:
        return phase is Phase.HELD
    if order.action is Action.CANCEL:
        return phase not in (Phase.ENDING, Phase.ENDED)
    return True


def _free(beat: Beat, orders: Sequence[Order], phases: Mapping[str, Phase]) -> int:
    """Room for more: an attempt that has ended, or is to be forgotten, holds no slot."""
    live = sum(
        order.action is not Action.FORGET and phases.get(order.attempt_id) is not Phase.ENDED for order in orders
    )
    return beat.slots - live


def _offer(assignment: Assignment) -> Order:
    attempt = assignment.attempt
    return Order(action=Action.OFFER, attempt_id=attempt.attempt_id, fence=attempt.fence, job=assignment.job)
