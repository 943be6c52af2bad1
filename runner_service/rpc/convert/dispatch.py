"""The worker protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runner.v1 import dispatch_service_pb2 as pb
from runner_service.domain.dispatch import (
    Action,
    Along,
    Beat,
    DispatchTimes,
    Listed,
    Order,
    Phase,
    Report,
    Verdict,
    self_stop_seconds,
)
from runner_service.domain.errors import InvalidArgument
from runner_service.domain.logs import encode_all
from runner_service.domain.runner_health import Check
from runner_service.domain.runners import Load
from runner_service.rpc.convert import jobs, logs, outcomes, times
from runner_service.services.dispatch import ReportAnswer, SyncAnswer

_ACTIONS = {action: pb.Order.Action.Value(f"ACTION_{action.name}") for action in Action}
_PHASES = {int(phase): phase for phase in Phase}
_VERDICTS = {verdict: pb.ReportVerdict.Answer.Value(f"ANSWER_{verdict.name}") for verdict in Verdict}


def beat(request: pb.SyncRequest, *, lease_seconds: float) -> Beat:
    """Raises `InvalidArgument` for a phase that is not known: guessing one could start a job twice."""
    try:
        listed = tuple(
            Listed(
                attempt_id=held.attempt_id,
                fence=held.fence,
                phase=_PHASES[held.phase],
                memory_bytes=held.memory_bytes,
                measured=held.measured,
            )
            for held in request.attempts
        )
    except KeyError:
        raise InvalidArgument(field="attempts.phase", problem="it is not known to this server") from None
    return Beat(
        runner_id=request.runner_id,
        session_id=request.session_id,
        sync_number=request.sync_number,
        boot_id=request.boot_id,
        spool_id=request.spool_id,
        version=request.version,
        labels=dict(request.labels),
        slots=request.slots,
        listed=listed,
        changes_only=request.changes_only,
        reports_heard=request.reports_heard,
        lease_seconds=lease_seconds,
        paused=request.paused,
        load=(
            Load(
                cpu=round(request.load.cpu_percent, 2),
                memory=round(request.load.memory_percent, 2),
                disk=round(request.load.disk_percent, 2),
            )
            if request.HasField("load")
            else None
        ),
        check=request.check_number,
        checks={
            name: Check(
                passed=check.passed,
                version=check.version or None,
                available_gb=check.available_gb if check.HasField("available_gb") else None,
                message=check.message,
            )
            for name, check in request.checks.items()
        },
    )


def sync_response(answer: SyncAnswer, dispatch_times: DispatchTimes, credential: str = "") -> pb.SyncResponse:
    return pb.SyncResponse(
        parked=times.duration(answer.parked_seconds),
        lease=times.duration(dispatch_times.lease),
        orders=[_order(order, dispatch_times, answer.secrets) for order in answer.orders],
        followed_attempt_ids=answer.followed,
        control=pb.WorkerControl(
            paused=answer.control.paused, restart=answer.control.restart, check_number=answer.control.check
        ),
        credential=credential,
    )


def _order(order: Order, dispatch_times: DispatchTimes, secrets: Mapping[str, Mapping[str, bytes]]) -> pb.Order:
    message = pb.Order(action=_ACTIONS[order.action], attempt_id=order.attempt_id, fence=order.fence)
    if order.job is not None:
        message.job_id = order.job.job_id
        message.self_stop.CopyFrom(times.duration(self_stop_seconds(order.job, dispatch_times)))
        if order.action in (Action.OFFER, Action.START):
            message.spec.CopyFrom(jobs.spec(order.job.spec))
    if order.attempt_id in secrets:
        message.secrets.update(secrets[order.attempt_id])
    if order.cancel is not None:
        message.reason = order.cancel.by
    return message


def along(request: pb.ReportAttemptsRequest) -> Along | None:
    """None when the worker wants nothing besides."""
    if not request.sync_number:
        return None
    return Along(
        runner_id=request.runner_id,
        session_id=request.session_id,
        sync_number=request.sync_number,
        held=tuple(Listed(attempt_id=held.attempt_id, fence=held.fence, phase=Phase.HELD) for held in request.held),
        number=request.number,
    )


def report_response(
    reports: Sequence[Report], answer: ReportAnswer, dispatch_times: DispatchTimes
) -> pb.ReportAttemptsResponse:
    return pb.ReportAttemptsResponse(
        verdicts=[
            pb.ReportVerdict(attempt_id=report.attempt_id, answer=_VERDICTS[verdict])
            for report, verdict in zip(reports, answer.verdicts, strict=True)
        ],
        orders=[_order(order, dispatch_times, answer.secrets) for order in answer.orders],
    )


def report(value: pb.AttemptReport, *, runner_id: str) -> Report:
    records = logs.records_from(value.records)
    return Report(
        runner_id=runner_id,
        attempt_id=value.attempt_id,
        fence=value.fence,
        outcome=outcomes.from_proto(value.outcome),
        first_sequence=records[0].sequence if records else 0,
        records=len(records),
        journal=encode_all(records),
        seal=logs.seal(value.seal) if value.HasField("seal") else None,
    )
