"""A server of the dispatch protocol in memory, faithful as far as a worker can see, with faults to order."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from dispatch_registry import Context, Registry, fail
from dispatched import Attempt
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2

from runner.v1 import dispatch_service_pb2 as pb
from runner.v1 import input_pb2, job_pb2, outcome_pb2
from runner.v1.dispatch_service_pb2_grpc import DispatchServiceServicer, add_DispatchServiceServicer_to_server
from runner.v1.runner_service_pb2_grpc import add_RunnerServiceServicer_to_server
from runner_service.domain.ids import new_id

Fault = Callable[[], Any]


def seconds(value: float) -> Duration:
    return Duration(seconds=int(value), nanos=int(value % 1 * 1e9))


class DispatchServer(DispatchServiceServicer, Registry):
    """Holds what a server holds; the tests look at it and change it directly, then `wake`."""

    def __init__(self) -> None:
        super().__init__()
        self.lease = 30.0
        self.park = 5.0
        self.sessions: dict[str, tuple[str, int]] = {}
        self.attempts: dict[str, Attempt] = {}
        self.syncs: list[pb.SyncRequest] = []
        self.parked: list[float] = []
        """How long each reply to one said that it was."""
        self.reports: list[pb.ReportAttemptsRequest] = []
        self.batches: list[pb.AppendLogsRequest] = []
        self.brings_along = False
        """Answers to reports confirm what was offered, and offer more."""
        self.starts_along = False
        """They have it started at once."""
        self.answer_gate: asyncio.Event | None = None
        """Answers to reports wait for it."""
        self.followed: set[str] = set()
        self.refusals: dict[str, list[tuple[int, str]]] = defaultdict(list)
        """The same before the call was processed."""
        self.cut_after: list[int] = []
        """Streams are cut after so many batches, one entry per stream; the last is committed, not acknowledged."""
        self.cut_with = (code_pb2.UNAVAILABLE, "CUT")
        """How they are cut."""
        self.append_gate: asyncio.Event | None = None
        self.misses: dict[str, int] = {}
        """By attempt: so many reports are answered with LOG_MISSING, records in them thrown away."""
        self.control = pb.WorkerControl()
        """What every Sync tells the worker."""
        self._server: grpc.aio.Server | None = None

    # What tests call.

    async def start(self, target: str) -> None:
        self._server = self._made()
        self._server.add_insecure_port(target)
        await self._server.start()

    async def start_tcp(self, credentials: grpc.ServerCredentials | None = None) -> str:
        """Listens on this machine, in place of where it did before; returns the target."""
        await self.stop()
        self._server = self._made()
        if credentials is None:
            port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            port = self._server.add_secure_port("127.0.0.1:0", credentials)
        await self._server.start()
        return f"127.0.0.1:{port}"

    def _made(self) -> grpc.aio.Server:
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        add_DispatchServiceServicer_to_server(self, server)
        add_RunnerServiceServicer_to_server(self, server)
        return server

    async def stop(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop(None)

    def submit(self, *argv: str, script: str = "", **fields: Any) -> Attempt:
        step = job_pb2.Step(script=script) if script else job_pb2.Step(argv=job_pb2.Argv(args=argv))
        spec = job_pb2.JobSpec(steps=[step], kill_grace=seconds(fields.pop("kill_grace", 1.0)))
        spec.stdin = fields.pop("stdin", job_pb2.JobSpec.STDIN_UNSPECIFIED)
        attempt = Attempt(spec=spec, **fields)
        self.attempts[attempt.attempt_id] = attempt
        self.wake()
        return attempt

    def give(self, attempt: Attempt, data: bytes, *, end: bool = False) -> None:
        """Input of one byte a record."""
        attempt.input += [input_pb2.InputRecord(data=bytes((byte,))) for byte in data]
        attempt.input += [input_pb2.InputRecord(end=input_pb2.EndOfInput())] if end else []
        self.wake()

    def cancel(self, attempt: Attempt, reason: str = "user") -> None:
        attempt.cancel = reason
        self.wake()

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not reached():
                await self.changed.wait()

    # The protocol.

    async def _refuse(self, context: Context, method: str) -> None:
        if self.refusals[method]:
            await fail(context, *self.refusals[method].pop(0))

    async def Sync(self, request: pb.SyncRequest, context: Context) -> pb.SyncResponse:
        await self._authenticate(context, request.runner_id)
        await self._refuse(context, "Sync")
        began = asyncio.get_running_loop().time()
        session, number = self.sessions.get(request.runner_id, ("", 0))
        if request.session_id < session:
            await fail(context, code_pb2.FAILED_PRECONDITION, "STALE_WORKER")
        if request.session_id == session and request.sync_number <= number:
            await fail(context, code_pb2.FAILED_PRECONDITION, "STALE_SYNC")
        self.sessions[request.runner_id] = (request.session_id, request.sync_number)
        self.syncs.append(request)
        listed = {held.attempt_id: held for held in request.attempts}
        for attempt in list(self.attempts.values()):
            if attempt.runner_id == request.runner_id:
                if attempt.state == "ASSIGNED" and attempt.attempt_id in listed:
                    attempt.state = "RUNNING"
                elif attempt.attempt_id in listed:
                    attempt.came_with = 0
                elif attempt.came_with > request.reports_heard:
                    pass
                elif attempt.state == "RUNNING" and attempt.came_with:
                    self._take_back(attempt)
                elif attempt.state == "RUNNING":
                    self._finish(attempt, outcome_pb2.Outcome(kind="KIND_LOST", detail="runner_forgot"))
        self.wake()
        while True:
            changed = self.changed
            orders, news = self._orders(request, listed)
            left = began + self.park - asyncio.get_running_loop().time()
            wanted = self.control
            news |= request.runner_id in self.next_credentials
            news |= wanted.restart or wanted.paused != request.paused or wanted.check_number > request.check_number
            if news or left <= 0:
                break
            try:
                await asyncio.wait_for(changed.wait(), left)
            except TimeoutError:
                pass
        await self._fault(context, "Sync")
        self.parked.append(asyncio.get_running_loop().time() - began)
        return pb.SyncResponse(
            parked=seconds(self.parked[-1]),
            lease=seconds(self.lease),
            orders=orders,
            followed_attempt_ids=sorted(self.followed),
            control=self.control,
            credential=self.next_credentials.get(request.runner_id, ""),
        )

    def _orders(self, request: pb.SyncRequest, listed: dict[str, pb.HeldAttempt]) -> tuple[list[pb.Order], bool]:
        mine = [a for a in self.attempts.values() if a.runner_id == request.runner_id and a.state != "FINISHED"]
        for attempt in self.attempts.values():
            if attempt.state == "QUEUED" and len(mine) < request.slots:
                attempt.state, attempt.runner_id = "ASSIGNED", request.runner_id
                mine.append(attempt)
        orders, news = [], False
        for attempt in mine:
            held = listed.get(attempt.attempt_id)
            order = self._order(attempt)
            if order.action == pb.Order.ACTION_OFFER:
                news = True
            elif order.action == pb.Order.ACTION_CANCEL:
                news |= held is not None and held.phase in (pb.HeldAttempt.PHASE_HELD, pb.HeldAttempt.PHASE_STARTED)
            else:
                news |= held is not None and held.phase == pb.HeldAttempt.PHASE_HELD
            orders.append(order)
        for attempt_id, held in listed.items():
            known = self.attempts.get(attempt_id)
            if known is None or known not in mine:
                orders.append(pb.Order(action=pb.Order.ACTION_FORGET, attempt_id=attempt_id, fence=held.fence))
                news = True
        return orders, news

    def _order(self, attempt: Attempt) -> pb.Order:
        order = pb.Order(
            action=pb.Order.ACTION_OFFER if attempt.state == "ASSIGNED" else pb.Order.ACTION_RUN,
            attempt_id=attempt.attempt_id,
            fence=attempt.fence,
            job_id=f"job-{attempt.attempt_id}",
            spec=attempt.spec,
            self_stop=seconds(attempt.self_stop),
        )
        if attempt.state != "ASSIGNED" and attempt.cancel is not None:
            order.action, order.reason = pb.Order.ACTION_CANCEL, attempt.cancel
        return order

    async def ReportAttempts(self, request: pb.ReportAttemptsRequest, context: Context) -> pb.ReportAttemptsResponse:
        await self._authenticate(context, request.runner_id)
        await self._refuse(context, "ReportAttempts")
        self.reports.append(request)
        verdicts = [
            pb.ReportVerdict(attempt_id=report.attempt_id, answer=self._take(request.runner_id, report))
            for report in request.reports
        ]
        orders = self._come_along(request) if self.brings_along else []
        self.wake()
        if self.answer_gate is not None:
            await self.answer_gate.wait()
        await self._fault(context, "ReportAttempts")
        return pb.ReportAttemptsResponse(verdicts=verdicts, orders=orders)

    def _come_along(self, request: pb.ReportAttemptsRequest) -> list[pb.Order]:
        session, number = self.sessions.get(request.runner_id, ("", 0))
        if not request.sync_number or request.session_id != session or request.sync_number > number:
            return []
        mine = [a for a in self.attempts.values() if a.runner_id == request.runner_id and a.state != "FINISHED"]
        held = {one.attempt_id for one in request.held}
        for attempt in mine:
            if attempt.attempt_id in held and attempt.state == "ASSIGNED":
                attempt.state = "RUNNING"
        told = [self._order(attempt) for attempt in mine if attempt.attempt_id in held]
        for attempt in self.attempts.values():
            if attempt.state == "QUEUED" and len(mine) < self.syncs[-1].slots:
                attempt.state, attempt.runner_id = "ASSIGNED", request.runner_id
                mine.append(attempt)
                told.append(self._order(attempt))
                if self.starts_along:
                    attempt.state, attempt.came_with = "RUNNING", request.number
                    told[-1].action = pb.Order.ACTION_START
        return told

    def _take_back(self, attempt: Attempt) -> None:
        """It was never started: the job's next attempt is another one."""
        del self.attempts[attempt.attempt_id]
        attempt.attempt_id, attempt.state, attempt.came_with, attempt.runner_id = new_id(), "QUEUED", 0, ""
        self.attempts[attempt.attempt_id] = attempt

    def _take(self, runner_id: str, report: pb.AttemptReport) -> pb.ReportVerdict.Answer.ValueType:
        attempt = self.attempts.get(report.attempt_id)
        if attempt is None or attempt.runner_id != runner_id or attempt.fence != report.fence:
            return pb.ReportVerdict.ANSWER_STALE
        attempt.reports += 1
        if attempt.state == "FINISHED":
            assert attempt.outcome is not None
            lost = attempt.outcome.kind == outcome_pb2.Outcome.KIND_LOST and attempt.outcome != report.outcome
            return pb.ReportVerdict.ANSWER_STALE if lost else pb.ReportVerdict.ANSWER_ACCEPTED
        if self.misses.get(attempt.attempt_id, 0) > 0:
            self.misses[attempt.attempt_id] -= 1
            return pb.ReportVerdict.ANSWER_LOG_MISSING
        attempt.append(list(report.records))
        if report.HasField("seal"):
            if not attempt.fits(report.seal):
                return pb.ReportVerdict.ANSWER_LOG_MISSING
            attempt.seal = report.seal
            attempt.complete = hashlib.sha256(attempt.data).digest() == report.seal.sha256
        self._finish(attempt, report.outcome)
        return pb.ReportVerdict.ANSWER_ACCEPTED

    def _finish(self, attempt: Attempt, outcome: outcome_pb2.Outcome) -> None:
        attempt.state, attempt.outcome = "FINISHED", outcome
        attempt.finished.set()

    async def AppendLogs(  # type: ignore[override]
        self, requests: AsyncIterator[pb.AppendLogsRequest], context: Context
    ) -> AsyncIterator[pb.AppendLogsResponse]:
        attempt: Attempt | None = None
        left = self.cut_after.pop(0) if self.cut_after else -1
        async for request in requests:
            if attempt is None:
                await self._authenticate(context, request.runner_id)
                attempt = self.attempts.get(request.attempt_id)
                if attempt is None or attempt.fence != request.fence or attempt.runner_id != request.runner_id:
                    await fail(context, code_pb2.FAILED_PRECONDITION, "STALE_ATTEMPT")
                    return
                attempt.streams += 1
            if attempt.state == "FINISHED":
                await fail(context, code_pb2.FAILED_PRECONDITION, "STALE_ATTEMPT")
            self.batches.append(request)
            if self.append_gate is not None and request.records:
                await self.append_gate.wait()
            attempt.append(list(request.records))
            self.wake()
            if left == 0:
                await fail(context, *self.cut_with)
            left -= 1
            yield pb.AppendLogsResponse(
                next_sequence=len(attempt.records), followed=attempt.attempt_id in self.followed
            )

    async def AppendLogsOnce(self, request: pb.AppendLogsOnceRequest, context: Context) -> pb.AppendLogsOnceResponse:
        await self._authenticate(context, request.runner_id)
        attempt = self.attempts.get(request.attempt_id)
        if attempt is None or attempt.fence != request.fence or attempt.state == "FINISHED":
            await fail(context, code_pb2.FAILED_PRECONDITION, "STALE_ATTEMPT")
        attempt.append(list(request.records))
        return pb.AppendLogsOnceResponse(next_sequence=len(attempt.records))

    async def StreamInputs(  # type: ignore[override]
        self, requests: AsyncIterator[pb.StreamInputsRequest], context: Context
    ) -> AsyncIterator[pb.StreamInputsResponse]:
        first = await anext(aiter(requests))
        await self._authenticate(context, first.runner_id)
        await self._refuse(context, "StreamInputs")
        attempt = self.attempts.get(first.attempt_id)
        if attempt is None or attempt.fence != first.fence or attempt.state == "FINISHED":
            await fail(context, code_pb2.FAILED_PRECONDITION, "STALE_ATTEMPT")
            return
        attempt.feeds.append(first.offset)
        attempt.written = max(attempt.written, first.written_offset)
        reading = asyncio.create_task(self._written(attempt, requests))
        offset = first.offset
        try:
            while True:
                changed = self.changed
                if records := attempt.input[offset:]:
                    yield pb.StreamInputsResponse(offset=offset, records=records)
                    offset += len(records)
                if self.faults["StreamInputs"]:
                    await self._fault(context, "StreamInputs")
                await changed.wait()
        finally:
            reading.cancel()

    async def _written(self, attempt: Attempt, requests: AsyncIterator[pb.StreamInputsRequest]) -> None:
        async for request in requests:
            attempt.written = max(attempt.written, request.written_offset)
            self.wake()


def unix_target(directory: Path) -> str:
    return f"unix:{directory}/server.sock"
