"""Commands: jobs of one step, shown as what was asked for."""

from __future__ import annotations

from runner.v1 import command_pb2, command_service_pb2
from runner_service.domain.jobs import NO_LIMITS, Job, JobKind, Stdin, Step
from runner_service.domain.requests import NewJob
from runner_service.rpc.convert import jobs, outcomes, times


def command(value: Job) -> command_pb2.Command:
    asked = value.spec
    message = command_pb2.Command(
        job_id=value.job_id,
        argv=asked.steps[0].argv,
        working_directory=asked.working_directory,
        timeout=times.duration(asked.timeout_seconds),
        priority=value.priority,
        state=jobs.STATES[value.state],
        create_time=times.timestamp(value.created_at),
        start_time=times.timestamp(value.started_at),
        finish_time=times.timestamp(value.finished_at),
        outcome=outcomes.to_proto(value.outcome),
        cancel=jobs.cancel(value),
        runner_id=value.runner_id,
        limits=jobs.limits(asked.limits),
        container=jobs.container(asked.container),
    )
    if asked.environment:
        message.environment.update(asked.environment)
    if value.tags:
        message.tags.update(value.tags)
    return message


def new_job(request: command_service_pb2.RunCommandRequest, *, stdin: Stdin = Stdin.NULL) -> NewJob:
    """What a RunCommand asks for. ``stdin``: when it does not say."""
    return NewJob(
        kind=JobKind.COMMAND,
        steps=(Step(argv=tuple(request.argv)),),
        environment=dict(request.environment),
        working_directory=request.working_directory,
        timeout_seconds=times.seconds(request.timeout) if request.HasField("timeout") else None,
        queue_timeout_seconds=times.check_not_negative("queue_timeout", request.queue_timeout),
        priority=request.priority,
        tags=dict(request.tags),
        required_labels=dict(request.required_labels),
        request_id=request.request_id,
        stdin=jobs.STDINS_BACK.get(request.stdin, Stdin.NULL) if request.stdin else stdin,
        inputs=jobs.inputs(request.inputs),
        outputs=tuple(request.outputs),
        secrets=dict(request.secrets),
        limits=jobs.limits_from(request.limits) if request.HasField("limits") else NO_LIMITS,
        container=jobs.container_from(request.container, field="container") if request.HasField("container") else None,
        terminal_rows=request.terminal.rows or 24,
        terminal_columns=request.terminal.columns or 80,
    )
