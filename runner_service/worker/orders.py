"""Carries out what the server orders, and what the executor tells: every move of a held attempt is made here."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from runner.v1 import dispatch_service_pb2 as dispatch
from runner_service.domain import crashpoints
from runner_service.domain.jobs import Stdin
from runner_service.domain.logs import LogSeal
from runner_service.domain.outcomes import Outcome
from runner_service.worker.attempts import Attempts, Held, Phase
from runner_service.worker.executors.base import (
    Ended,
    ExecutionState,
    Executor,
    ExecutorError,
    InputWritten,
    KillCause,
    KnownAttempt,
    OutputGrew,
    Started,
)
from runner_service.worker.executors.environment import container_environment, job_environment
from runner_service.worker.inputs import InputFeed
from runner_service.worker.leases import Leases
from runner_service.worker.link import Link
from runner_service.worker.memory import AGENT_NAME
from runner_service.worker.reporter import Answer, Reporter
from runner_service.worker.shipper import Shipper, Spawn
from runner_service.worker.starts import Starts, never_ran
from runner_service.worker.window import Mark
from runner_service.worker.wire import seconds_of, spec_of

log = logging.getLogger(__name__)

_EMPTY_LOG = LogSeal(records=0, stdout_bytes=0, stderr_bytes=0, sha256=hashlib.sha256().digest())
_DEADLINE_SECONDS = 5.0
"""The executor may take so long to take a deadline."""


@dataclass(slots=True, kw_only=True)
class Orders:
    """The one place where held attempts change their phase."""

    attempts: Attempts
    executor: Executor
    leases: Leases
    spawn: Spawn
    shipper: Shipper
    reporter: Reporter
    link: Link
    monotonic: Callable[[], float]
    starts: Starts
    accepting: bool = True
    """False: offers are passed over, and what is offered already is not started."""
    declined: Callable[[], None] = lambda: None
    """Called when the server may believe something to run here that was never started: the next list says so."""
    tainted: bool = False
    """An attempt left processes behind that cannot be ended: this machine takes no more work."""

    def adopt(self, known: KnownAttempt) -> None:
        """Takes over an attempt that was there before this worker."""
        if self.attempts.get(known.attempt_id) is not None:
            return
        held = Held(
            attempt_id=known.attempt_id,
            fence=known.fence,
            phase=Phase.STARTED,
            shipment=self.shipper.open(known.attempt_id, known.fence, Mark(known.log_base_sequence, known.log_base)),
            outputs=known.outputs,
        )
        self.attempts.add(held)
        if known.state is ExecutionState.ENDED and known.outcome is not None and known.seal is not None:
            self._end(held, known.outcome, known.seal, known.log_bytes)
        else:
            held.shipment.grew(known.log_bytes)
            if known.input_received is not None:
                self._feed(held, known.input_received, known.input_written)

    async def apply(self, reply: dispatch.SyncResponse, listed: Collection[str], lease_end: float | None) -> bool:
        """Carries out a reply to a request that ``listed`` so much. True when it brought anything new."""
        news, starts = self._carry_out(reply.orders, lease_end, came_along=False)
        followed = frozenset(reply.followed_attempt_ids)
        for attempt_id in followed.union(listed):
            # The reply speaks of what its Sync listed: an attempt started since then may well be followed.
            if (held := self.attempts.get(attempt_id)) is not None:
                held.shipment.follow(attempt_id in followed)
        if lease_end is not None:
            await self._renew(lease_end)
        self._begin(starts)
        return news

    def along(self) -> list[Held] | None:
        """What the next report has to have confirmed; None: nothing may come along with it, because this worker takes
        no work now, or is not sure that it still holds a lease."""
        if not self.accepting or self.tainted or self.leases.lease_end <= self.monotonic():
            return None
        return [held for held in self.attempts if held.came_along and held.phase is Phase.HELD]

    async def take(self, orders: Collection[dispatch.Order]) -> None:
        """Carries out what came along with the answer to a report."""
        _, starts = self._carry_out(orders, self.leases.lease_end, came_along=True)
        self.attempts.fewer.set()  # Or as many: whoever waits for the last word looks again.
        if starts:
            await self._renew(self.leases.lease_end)  # So that the executor has a deadline before it has a job.
        self._begin(starts)

    def _carry_out(
        self, orders: Collection[dispatch.Order], lease_end: float | None, *, came_along: bool
    ) -> tuple[bool, list[Held]]:
        """Moves attempts as they are ordered to; what has to be started is left to `_begin`."""
        news = False
        starts: list[Held] = []
        for order in orders:
            held = self.attempts.get(order.attempt_id)
            if held is None:
                # RUN of what is not held is a reply from before its report was taken: never start it again. START comes
                # in one answer and no other.
                if order.action == dispatch.Order.ACTION_OFFER and self.accepting:
                    self._offered(order, came_along=came_along)
                    news = True
                elif order.action == dispatch.Order.ACTION_START:
                    if not self.accepting or self._is_late(order, lease_end):
                        self.declined()
                        continue
                    starts.append(self._ordered(self._offered(order, came_along=False), order))
                continue
            if order.HasField("self_stop"):
                held.self_stop = seconds_of(order.self_stop)
            if order.action == dispatch.Order.ACTION_RUN:
                late = self._is_late(order, lease_end)
                if held.phase is Phase.HELD and order.fence == held.fence and self.accepting and not late:
                    starts.append(self._ordered(held, order))
            elif order.action == dispatch.Order.ACTION_CANCEL:
                news |= self.end(held, KillCause.CANCEL, order.reason)
            elif order.action == dispatch.Order.ACTION_FORGET:
                news |= self.discard(held)
        return news or bool(starts), starts

    def _is_late(self, order: dispatch.Order, lease_end: float | None) -> bool:
        """A reply that took so long that its job would have to be dead by now starts nothing: somebody else may have
        it."""
        return lease_end is not None and self.monotonic() >= lease_end + seconds_of(order.self_stop)

    def _ordered(self, held: Held, order: dispatch.Order) -> Held:
        """It is to be started."""
        crashpoints.reached("worker.ordered")
        held.phase, held.starting = Phase.STARTED, True
        held.secrets = {name: os.fsdecode(value) for name, value in order.secrets.items()}
        held.shipment.start()
        return held

    def _begin(self, starts: Collection[Held]) -> None:
        for held in starts:
            if held.spec is not None and held.spec.start_timeout_seconds:
                self.spawn(self._watch_start(held, held.spec.start_timeout_seconds))
            self.spawn(self._start(held))

    def end(self, held: Held, cause: KillCause, detail: str = "") -> bool:
        """Ends an attempt; its end is reported. False when that is under way or done."""
        if held.phase is Phase.HELD:
            self._end(held, never_ran((cause, detail)), _EMPTY_LOG, 0)
        elif held.phase is Phase.STARTED:
            held.phase, held.kill = Phase.ENDING, (cause, detail)
            if not held.starting:
                self.spawn(self._kill(held.attempt_id, cause, detail))
        else:
            return False
        return True

    def discard(self, held: Held) -> bool:
        """Ends an attempt that nobody waits for, and deletes it. False when that is under way."""
        news, held.discard = not held.discard, True
        held.shipment.drop()
        self.reporter.drop(held)
        if held.live:
            self.end(held, KillCause.STALE)
        else:
            self._forget(held)
        return news

    def stale(self, attempt_id: str) -> None:
        """The server says that the attempt is not this worker's any more."""
        if (held := self.attempts.get(attempt_id)) is not None:
            self.discard(held)

    async def follow_executor(self) -> None:
        """Takes the executor's events until it is closed."""
        async for event in self.executor.events():
            held = self.attempts.get(event.attempt_id)
            if held is None or held.phase is Phase.ENDED:
                # Its start was given up for failed, and was none: nobody waits for it.
                self.spawn(self._delete(event.attempt_id) if isinstance(event, Ended) else self._kill(event.attempt_id))
            elif isinstance(event, Started):
                held.begun.set()
            elif isinstance(event, OutputGrew):
                if not held.discard:
                    held.shipment.grew(event.log_bytes)
            elif isinstance(event, InputWritten):
                if held.feed is not None:
                    held.feed.wrote(event.written)
            elif isinstance(event, Ended):
                crashpoints.reached("worker.ended")
                self._end(held, event.outcome, event.seal, event.log_bytes)

    def shipped(self, attempt_id: str) -> None:
        """The log of an ended attempt has arrived, but for what its report takes along."""
        if (held := self.attempts.get(attempt_id)) is None:
            return
        patterns, held.outputs = held.outputs, ()
        directory = self.executor.directory(attempt_id) if patterns else ""
        if directory:
            self.spawn(self._keep_outputs(held, directory, patterns))
        else:
            self.reporter.add(held)

    def verdict(self, held: Held, answer: Answer) -> None:
        """The server has answered a report."""
        if answer != dispatch.ReportVerdict.ANSWER_LOG_MISSING:
            crashpoints.reached("worker.reported")
            self._forget(held)
            return
        if held.shipment.whole or held.shipment.lost:
            # All that there is was shipped and acknowledged: what is missing is not here either.
            held.shipment.give_up("the server misses records that are not here either")
            self.reporter.add(held)
        else:
            held.shipment.ship_whole()

    def _offered(self, order: dispatch.Order, *, came_along: bool) -> Held:
        spec = spec_of(order.spec)
        make = job_environment if spec.container is None else container_environment
        held = Held(
            attempt_id=order.attempt_id,
            fence=order.fence,
            phase=Phase.HELD,
            shipment=self.shipper.open(order.attempt_id, order.fence),
            spec=spec,
            environment=make(spec.environment, job_id=order.job_id, attempt_id=order.attempt_id),
            self_stop=seconds_of(order.self_stop),
            came_along=came_along,
            measured=AGENT_NAME in spec.environment,
        )
        self.attempts.add(held)
        crashpoints.reached("worker.offered")
        return held

    async def _renew(self, lease_end: float) -> None:
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS):
                await self.leases.renew(lease_end, [held for held in self.attempts if held.live])
        except (TimeoutError, ExecutorError) as error:
            # Its jobs died with it, or still hold the deadlines of before. The heartbeat goes on.
            log.error("The executor takes no deadline: %r", error, extra={"action": "deadline_failed"})

    async def _watch_start(self, held: Held, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await held.begun.wait()
        except TimeoutError:
            self.end(held, KillCause.START_TIMEOUT, f"had no process after {seconds:g} s")

    async def _start(self, held: Held) -> None:
        takes_input = held.spec is not None and held.spec.stdin is not Stdin.NULL
        outcome = await self.starts.start(held)
        crashpoints.reached("worker.started")
        held.starting, held.spec, held.environment, held.secrets = False, None, {}, {}
        if outcome is not None:
            self._end(held, outcome, _EMPTY_LOG, 0)
            return
        if takes_input and held.live:
            self._feed(held)
        await self.leases.cover(held)
        if held.kill is not None:
            await self._kill(held.attempt_id, *held.kill)

    async def _keep_outputs(self, held: Held, directory: str, patterns: Sequence[str]) -> None:
        if not await self.starts.keep_outputs(held, directory, patterns):
            self.discard(held)
        elif self.attempts.get(held.attempt_id) is held and not held.discard:
            self.reporter.add(held)

    def _feed(self, held: Held, received: int = 0, written: int = 0) -> None:
        held.feed = InputFeed(
            held.attempt_id, held.fence, executor=self.executor, link=self.link, received=received, written=written
        )
        held.feeding = self.spawn(held.feed.run())

    async def _kill(self, attempt_id: str, cause: KillCause = KillCause.STALE, detail: str = "") -> None:
        try:
            await self.executor.kill(attempt_id, cause, detail)
        except ExecutorError as error:
            log.error("%s", error, extra={"action": "kill_failed", "attempt_id": attempt_id})

    def _end(self, held: Held, outcome: Outcome, seal: LogSeal, log_bytes: int) -> None:
        if held.phase is Phase.ENDED:
            return
        held.phase, held.outcome, held.seal = Phase.ENDED, outcome, seal
        held.end_feed()
        self.attempts.fewer.set()
        held.begun.set()
        if outcome.survivors:
            self.tainted = True
            log.error(
                "Attempt %s left %d processes that cannot be ended: this machine takes no more work.",
                held.attempt_id,
                outcome.survivors,
                extra={"action": "survivors", "attempt_id": held.attempt_id},
            )
        if held.discard:
            self._forget(held)
        else:
            held.shipment.end(log_bytes)

    def _forget(self, held: Held) -> None:
        """Deletes it here, and with the executor if that ever had it."""
        self.attempts.remove(held)
        if held.phase is Phase.ENDED:
            self.spawn(self._delete(held.attempt_id))

    async def _delete(self, attempt_id: str) -> None:
        try:
            await self.executor.forget(attempt_id)
        except ExecutorError as error:
            log.error("%s", error, extra={"action": "forget_failed", "attempt_id": attempt_id})
