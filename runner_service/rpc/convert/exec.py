"""The stream of an interactive command."""

from __future__ import annotations

from runner.v1 import command_service_pb2 as pb
from runner.v1 import log_pb2
from runner_service.domain.errors import InvalidArgument
from runner_service.domain.inputs import InputStatus
from runner_service.domain.jobs import Job
from runner_service.rpc.convert import inputs, jobs, logs, outcomes
from runner_service.services.exec import Given
from runner_service.services.logs import LogBatch, LogEnd


def given(request: pb.ExecCommandRequest) -> Given:
    """Raises `InvalidArgument`."""
    if not request.HasField("input"):
        raise InvalidArgument(field="request", problem="after the first message only input is taken")
    offset = request.input.offset if request.input.HasField("offset") else None
    return offset, inputs.record_from(request.input.record)


def started(job: Job, status: InputStatus | None) -> pb.ExecCommandResponse:
    known = None if status is None else inputs.status(status)
    return pb.ExecCommandResponse(started=pb.ExecStarted(job_id=job.job_id, input=known))


def response(item: LogBatch | InputStatus | LogEnd) -> pb.ExecCommandResponse:
    if isinstance(item, InputStatus):
        return pb.ExecCommandResponse(input=inputs.status(item))
    if isinstance(item, LogEnd):
        return pb.ExecCommandResponse(end=_end(item))
    return pb.ExecCommandResponse(
        output=pb.ExecOutput(cursor=item.cursor, records=logs.records(item.records), attempt_id=item.attempt_id)
    )


def _end(end: LogEnd) -> log_pb2.LogEnd:
    return log_pb2.LogEnd(
        state=jobs.STATES[end.job.state], outcome=outcomes.to_proto(end.job.outcome), complete=end.complete
    )
