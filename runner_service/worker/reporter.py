"""Reports attempts that have ended: one call under way, what ends meanwhile goes with the next."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import TypeAlias

import grpc.aio

from runner.v1 import dispatch_service_pb2 as dispatch
from runner.v1.dispatch_service_pb2 import HeldAttempt
from runner_service.domain.logs import JournalCorrupt
from runner_service.worker.attempts import Held
from runner_service.worker.executors.base import AttemptUnknown
from runner_service.worker.failures import Failure, failure_of
from runner_service.worker.link import Link
from runner_service.worker.times import REPORT_BATCH, REPORT_BATCH_BYTES
from runner_service.worker.wire import outcome_to_wire, records_to_wire, seal_to_wire

log = logging.getLogger(__name__)

_HELD = HeldAttempt.PHASE_HELD
_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.5
"""Seconds, between asking again for what could not be confirmed yet."""

Answer: TypeAlias = "dispatch.ReportVerdict.Answer.ValueType"


class Reporter:
    """Sends each ended attempt until the server has given a verdict on it."""

    def __init__(
        self,
        link: Link,
        *,
        verdict: Callable[[Held, Answer], None],
        along: Callable[[], list[Held] | None],
        take: Callable[[Collection[dispatch.Order]], Awaitable[None]],
        unheard: Callable[[], None],
    ) -> None:
        """
        Args:
            verdict: Called once per report that was answered. On LOG_MISSING the attempt is to be added again later.
            along: Says what is to be confirmed along with the reports, None when nothing may come along.
            take: Carries out the orders that came along.
            unheard: Called when there may have been some in an answer that never came.
        """
        self._link = link
        self._verdict = verdict
        self._along = along
        self._take = take
        self._unheard = unheard
        self._pending: dict[str, Held] = {}
        self._wake = asyncio.Event()
        self._most = REPORT_BATCH
        self._backoff = link.backoff()
        self._number = 0
        """Of the newest call."""
        self.may_bring_starts = False
        """A call is under way whose answer may have something started: the server counts on it from then on."""
        self._unanswered = 0
        """Calls in a row in which something could not be confirmed yet."""

    def add(self, held: Held) -> None:
        """Reports an attempt that has ended and whose rest of the log fits the report."""
        self._pending[held.attempt_id] = held
        self._wake.set()

    def drop(self, held: Held) -> None:
        """Its end need not be reported any more."""
        self._pending.pop(held.attempt_id, None)

    async def run(self) -> None:
        """Reports until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending or self._along():
                await self._report()

    async def _report(self) -> None:
        batch, reports = await self._collect()
        along = self._along()
        self._number += 1
        request = dispatch.ReportAttemptsRequest(
            runner_id=self._link.runner_id,
            session_id=self._link.session_id,
            reports=reports,
            held=[HeldAttempt(attempt_id=held.attempt_id, fence=held.fence, phase=_HELD) for held in along or ()],
            sync_number=0 if along is None else self._link.sync_number,
            number=self._number,
        )
        for held in along or ():
            held.listed = True
        self.may_bring_starts = bool(batch) and along is not None
        try:
            reply = await self._link.report(request)
        except grpc.aio.AioRpcError as error:
            self._link.reports_heard = self._number  # Whatever its answer was to bring is never taken.
            if self.may_bring_starts:
                self.may_bring_starts = False
                self._unheard()
            if batch and failure_of(error) is Failure.BAD_REQUEST:
                self._refused(batch, error)
                return
            log.debug("A report failed and will be repeated: %s", error.code(), extra={"action": "report_failed"})
            await asyncio.sleep(self._backoff.next())
            return
        self._backoff.reset()
        self._most = REPORT_BATCH
        answers = {verdict.attempt_id: verdict.answer for verdict in reply.verdicts}
        for held in batch:
            answer = answers.get(held.attempt_id, dispatch.ReportVerdict.ANSWER_UNSPECIFIED)
            # Not pending any more: it was dropped while the call was under way.
            if answer != dispatch.ReportVerdict.ANSWER_UNSPECIFIED and held.attempt_id in self._pending:
                del self._pending[held.attempt_id]
                self._verdict(held, answer)
        if batch and not any(answers.values()):
            await asyncio.sleep(self._backoff.next())
        # In one step with what the answer brought, up to the first wait: a list that says so has it.
        self._link.reports_heard, self.may_bring_starts = self._number, False
        await self._take(reply.orders)
        ordered = {order.attempt_id for order in reply.orders}
        if all(held.attempt_id in ordered for held in along or ()):
            self._unanswered = 0
        else:
            # The server has not taken the last Sync yet, which is on its way.
            self._unanswered += 1
            await asyncio.sleep(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._unanswered, 10)))

    async def _collect(self) -> tuple[list[Held], list[dispatch.AttemptReport]]:
        """The oldest ends that fit one call."""
        await asyncio.sleep(0)  # What ends in the same instant goes along.
        batch: list[Held] = []
        reports: list[dispatch.AttemptReport] = []
        size = 0
        for held in list(self._pending.values()):
            size += max(0, held.shipment.unshipped)
            if batch and (len(batch) >= self._most or size > REPORT_BATCH_BYTES):
                break
            batch.append(held)
            reports.append(await _report_of(held))
        return batch, reports

    def _refused(self, batch: list[Held], error: grpc.aio.AioRpcError) -> None:
        """A report that can never be taken: finds it by sending one by one, gives up its log, then all of it."""
        if len(batch) > 1:
            self._most = 1
            return
        held = batch[0]
        if not held.shipment.lost:
            held.shipment.give_up(f"the server refuses it ({error.details()})")
            return
        log.error(
            "The server refuses the report of attempt %s: %s",
            held.attempt_id,
            error.details(),
            extra={"action": "report_refused", "attempt_id": held.attempt_id},
        )
        self._pending.pop(held.attempt_id, None)
        self._verdict(held, dispatch.ReportVerdict.ANSWER_STALE)


async def _report_of(held: Held) -> dispatch.AttemptReport:
    assert held.outcome is not None and held.seal is not None
    shipment = held.shipment
    report = dispatch.AttemptReport(attempt_id=held.attempt_id, fence=held.fence, outcome=outcome_to_wire(held.outcome))
    if shipment.unshipped > 0:
        try:
            report.records.extend(records_to_wire(await shipment.rest()))
        except (JournalCorrupt, AttemptUnknown) as error:
            shipment.give_up(str(error))
    if not shipment.lost:  # Without a seal the server takes its log as it is and marks it incomplete.
        report.seal.CopyFrom(seal_to_wire(held.seal))
    return report
