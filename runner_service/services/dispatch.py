"""The server's side of the worker protocol (DESIGN.md §5): beat, offer, confirm, cancel, report, expire."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from runner_service.domain.dispatch import (
    NO_CONTROL,
    Action,
    Along,
    Assignment,
    Beat,
    BeatAnswer,
    Control,
    DispatchTimes,
    Moved,
    Order,
    Phase,
    Report,
    Reported,
    Verdict,
    Want,
    control_of,
    want_of,
)
from runner_service.domain.errors import StaleSync
from runner_service.domain.jobs import JobState
from runner_service.domain.runners import Runner
from runner_service.ports.signals import (
    EVENTS,
    QUEUE,
    Signals,
    Waiter,
    end_topic,
    feed_topic,
    job_topic,
    log_topic,
    runner_topic,
)
from runner_service.ports.store import DispatchStore
from runner_service.services.claimer import Claimer
from runner_service.services.endings import Endings
from runner_service.services.gauges import Gauges
from runner_service.services.job_secrets import JobSecrets
from runner_service.services.logs.tails import LogTails

log = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0
"""Between looks for unconfirmed assignments and leases that ran out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncAnswer:
    """What a Sync brings back."""

    parked_seconds: float
    """From the arrival of the call to the renewal of the lease that the answer speaks of."""
    orders: Sequence[Order]
    followed: Sequence[str]
    """Attempts of the worker whose log somebody follows now."""
    secrets: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    """Of attempts that are to be started: their variables that are secret."""
    control: Control = NO_CONTROL


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportAnswer:
    """What reports bring back."""

    verdicts: Sequence[Verdict]
    orders: Sequence[Order]
    secrets: Mapping[str, Mapping[str, bytes]]
    """By attempt: values of variables, for what starts now."""


@dataclass(slots=True)
class _Call:
    """A Sync under way."""

    beat: Beat
    waiter: Waiter
    live: set[str]
    """Attempts that hold a slot: of its list, and what came along with reports since, until they are reported."""
    runner: Runner | None = None
    """As its beat left it."""
    superseded: bool = False
    reported: set[str] = field(default_factory=set)
    """Attempts whose report was accepted meanwhile: the report's own answer told the worker to forget them."""
    freed: bool = False
    """Reports have made room since the call last looked."""
    given: Sequence[Assignment] = ()
    """What was claimed for it."""


class Listener(Protocol):
    """Is told of every Sync that was taken."""

    async def heard(self, beat: Beat, answer: BeatAnswer) -> None: ...


class Dispatch:
    """Keeps workers and the store in agreement. Holds nothing that matters: parked calls and hints only."""

    def __init__(
        self,
        *,
        store: DispatchStore,
        signals: Signals,
        claimer: Claimer,
        tails: LogTails,
        endings: Endings,
        times: DispatchTimes,
        secrets: JobSecrets | None = None,
        gauges: Gauges | None = None,
        listener: Listener | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._signals = signals
        self._claimer = claimer
        self._tails = tails
        self._endings = endings
        self._secrets = secrets
        self._gauges = gauges
        self._listener = listener
        self._monotonic = monotonic
        self.times = times
        self._calls: dict[str, _Call] = {}
        self._told_followed: dict[str, Sequence[str]] = {}
        """Of each runner: what its last answer said is followed."""
        self._stopping = False

    def stop(self) -> None:
        """Lets every parked Sync return, and no later one park: the server stops."""
        self._stopping = True
        self._signals.publish([runner_topic(runner_id) for runner_id in self._calls])

    async def sync(self, beat: Beat, *, confidential: bool = False) -> SyncAnswer:
        """One Sync of a worker: answers at once when there is news for it, else parks until there is. Secrets go into a
        ``confidential`` answer only.

        Raises:
            RunnerNotFound: It must register again.
            StaleWorker: A later worker has its identity.
            StaleSync: A newer call of the same worker came in.
        """
        arrived = self._monotonic()
        earlier = self._calls.get(beat.runner_id)
        if earlier is not None:
            earlier.superseded = True
            self._signals.publish((runner_topic(beat.runner_id),))
        with self._signals.subscribe(runner_topic(beat.runner_id)) as waiter:
            live = {one.attempt_id for one in beat.listed if one.phase is not Phase.ENDED}
            call = self._calls[beat.runner_id] = _Call(beat, waiter, live)
            try:
                answer = await self._park(call, arrived)
                if confidential:
                    held = {one.attempt_id for one in beat.listed if one.phase is Phase.HELD}
                    answer = replace(answer, secrets=await self._secrets_of(answer.orders, held))
                return answer
            finally:
                if self._calls.get(beat.runner_id) is call:
                    del self._calls[beat.runner_id]
                    self._claimer.leave(beat.runner_id)

    async def _park(self, call: _Call, arrived: float) -> SyncAnswer:
        beat = call.beat
        phases = {one.attempt_id: one.phase for one in beat.listed}
        deadline = arrived + self._longest_park(beat)
        while True:
            renewed = self._monotonic()
            claims = not (self._stopping or self._claimer.stopped)
            answer = await self._store.beat(replace(beat, claims=claims))
            call.runner, orders = answer.runner, answer.orders
            self._tell(answer.moved)
            if self._gauges is not None:
                self._gauges.take(beat)
            if self._listener is not None:
                await self._listener.heard(beat, answer)
            control = control_of(answer.runner, active=answer.active.get(beat.runner_id, 0), session_id=beat.session_id)
            changed = False
            while not (changed or call.given or self._stopping):
                orders = [order for order in orders if order.attempt_id not in call.reported]
                left = deadline - self._monotonic()
                news = control.is_news(beat) or any(order.news_at(phases.get(order.attempt_id)) for order in orders)
                if left <= 0 or news or self._followed_news(call):
                    break
                call.freed = False
                want = want_of(answer.runner, beat.labels, _free(call, answer.runner.capacity, orders))
                changed = await self._wait(call, want, left)
                if call.superseded:
                    raise StaleSync()
            if changed:
                continue
            # So that whoever waits is told when a later beat shows that the worker did not take it.
            followed = self._told_followed[beat.runner_id] = self._followed(call)
            return SyncAnswer(
                # The worker counts its lease from here. Counting from the renewal, not from the answer, keeps its count
                # ahead of the store's without a second write.
                parked_seconds=renewed - arrived,
                orders=[
                    *(order for order in orders if order.attempt_id not in call.reported),
                    *map(_offer, call.given),
                ],
                followed=followed,
                control=control,
            )

    def _longest_park(self, beat: Beat) -> float:
        if not beat.listed:
            return self.times.park_idle
        if any(one.measured for one in beat.listed):
            return min(self.times.park_busy, self.times.park_measured)
        return self.times.park_busy

    async def _secrets_of(self, orders: Sequence[Order], held: Collection[str]) -> Mapping[str, Mapping[str, bytes]]:
        """What those are given that start now."""
        secrets: dict[str, Mapping[str, bytes]] = {}
        for order in orders:
            starts = order.action is Action.START or (order.action is Action.RUN and order.attempt_id in held)
            job = order.job if starts else None
            if job is not None and job.spec.secrets and self._secrets is not None:
                wanted = job.spec.secrets
                values = await self._secrets.reveal(set(wanted.values()), job_id=job.job_id)
                secrets[order.attempt_id] = {
                    variable: values[name] for variable, name in wanted.items() if name in values
                }
        return secrets

    def _followed(self, call: _Call) -> Sequence[str]:
        known = call.live.union(one.attempt_id for one in call.beat.listed)
        return [attempt_id for attempt_id in known if self._signals.followed(log_topic(attempt_id))]

    def _followed_news(self, call: _Call) -> bool:
        """Somebody began to follow a log of which the worker still thinks that nobody does."""
        told = self._told_followed.get(call.beat.runner_id, ())
        return any(attempt_id not in told for attempt_id in self._followed(call))

    async def _wait(self, call: _Call, want: Want, left: float) -> bool:
        """Waits for work, room, a change or the end of the park. Tells whether something changed that only the store
        can say. Room made by a report alone is no such thing: what is left of the orders still holds."""
        wanted: asyncio.Future[Sequence[Assignment]] | None = None
        if want.count > 0:
            wanted = self._claimer.want(want)
            wanted.add_done_callback(lambda _: call.waiter.wake())
        try:
            changed = await call.waiter.wait(left)
            if wanted is not None and wanted.done() and not wanted.cancelled():
                call.given = wanted.result()
                return False
            return changed or not (call.given or call.freed)
        finally:
            if wanted is not None and not wanted.done():
                self._claimer.leave(want.runner_id)

    def _tell(self, moved: Sequence[Moved], reports: Sequence[Report] = ()) -> None:
        """Tells those who wait what became of jobs and logs."""
        topics: list[str] = [log_topic(report.attempt_id) for report in reports]
        for job, attempt_id in moved:
            topics.append(job_topic(job.job_id))
            if job.bound_to:
                topics.append(feed_topic(job.bound_to))
            if job.state is JobState.QUEUED:
                topics.append(QUEUE)
            elif job.state.terminal:
                self._endings.tell(job)
                topics.append(end_topic(job.job_id))
            if job.state not in (JobState.ASSIGNED, JobState.RUNNING):
                topics.append(log_topic(attempt_id))
                self._tails.settle(attempt_id)
        if moved:
            topics.append(EVENTS)
        self._signals.publish(dict.fromkeys(topics))

    async def report(
        self, reports: Sequence[Report], along: Along | None = None, *, confidential: bool = False
    ) -> ReportAnswer:
        """Takes reports of ended attempts of one runner, and what comes along; see `DispatchStore.report`. Jobs are
        claimed only while a Sync of the worker is parked, which has said what it can do."""
        call = None if along is None else self._calls.get(along.runner_id)
        if along is not None and call is not None and not (self._stopping or self._claimer.stopped):
            room = call.live.intersection(report.attempt_id for report in reports)
            if room and call.runner is not None:
                along = replace(along, want=want_of(call.runner, call.beat.labels, len(room)))
        answer = await self._store.report(reports, along=along)
        for report in reports:
            self._tails.settle(report.attempt_id)
        self._tell(answer.moved, reports)
        self._settle(along.runner_id if along is not None else "", reports, answer)
        held = () if along is None else [one.attempt_id for one in along.held]
        secrets = await self._secrets_of(answer.orders, held) if confidential else {}
        return ReportAnswer(verdicts=answer.verdicts, orders=answer.orders, secrets=secrets)

    def _settle(self, runner_id: str, reports: Sequence[Report], answer: Reported) -> None:
        """Has the parked Sync know what its worker knows by the answer to its reports."""
        call = self._calls.get(reports[0].runner_id if reports else runner_id)
        if call is None:
            return
        call.reported.update(
            report.attempt_id
            for report, verdict in zip(reports, answer.verdicts, strict=True)
            if verdict is not Verdict.LOG_MISSING
        )
        # Without those that are over: thousands of short commands come and go while one call is parked, and it looks at
        # all that are live each time.
        came = {order.attempt_id for order in answer.orders if order.action is not Action.FORGET}
        call.live = (call.live | came) - call.reported
        call.freed = True
        call.waiter.wake()

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
                ended = map(end_topic, (*expired, *outwaited))
                self._signals.publish((QUEUE, EVENTS, *map(job_topic, moved), *ended))


def _free(call: _Call, capacity: int, orders: Sequence[Order]) -> int:
    """Room for more. Without orders for what does as it should: what is listed holds a slot unless something says that
    it does not any more."""
    offered = sum(order.action is Action.OFFER and order.attempt_id not in call.live for order in orders)
    forgotten = {order.attempt_id for order in orders if order.action is Action.FORGET}
    return capacity - len(call.live - forgotten) - offered


def _offer(assignment: Assignment) -> Order:
    attempt = assignment.attempt
    return Order(action=Action.OFFER, attempt_id=attempt.attempt_id, fence=attempt.fence, job=assignment.job)
