"""The façade servicer of SCT agent: translate, call a service, translate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from runner.dialects.sct.v1 import command_pb2, command_service_pb2_grpc
from runner.dialects.sct.v1 import command_service_pb2 as pb
from runner_service.dialects.sct import words
from runner_service.domain.errors import InvalidArgument
from runner_service.domain.jobs import Job, JobKind, Step
from runner_service.domain.requests import NewJob
from runner_service.ports.store import JobPage
from runner_service.rpc.access import current_principal
from runner_service.rpc.convert import times
from runner_service.services.jobs import Jobs
from runner_service.services.logs import LogReader, Output, read_output


class SctCommandServicer(command_service_pb2_grpc.CommandServiceServicer):
    """SCT agent's command endpoints."""

    def __init__(self, *, jobs: Jobs, logs: LogReader, working_directory: str, max_output_bytes: int) -> None:
        self._jobs = jobs
        self._logs = logs
        self._working_directory = working_directory
        self._max_output_bytes = max_output_bytes

    async def ExecuteCommand(self, request: pb.ExecuteCommandRequest, context: Any) -> pb.ExecuteCommandResponse:
        job = await self._jobs.create(self._new_job(request), by=current_principal.get().name)
        return pb.ExecuteCommandResponse(
            job_id=job.job_id,
            status=words.status_when_accepted(job),
            created_at=times.timestamp(job.created_at),
            command=request.command,
            message="Command queued successfully",
        )

    async def GetCommand(self, request: pb.GetCommandRequest, context: Any) -> command_pb2.CommandJob:
        job = await self._jobs.get(request.job_id, origin=words.ORIGIN)
        return _job(job, await read_output(self._logs, job, limit=self._max_output_bytes))

    async def ListCommands(self, request: pb.ListCommandsRequest, context: Any) -> pb.ListCommandsResponse:
        limit, offset = words.limit(request.limit), words.offset(request.offset)
        filter = words.filter_for(request.status)
        page = JobPage(jobs=(), total=0)
        if filter is not None:
            filter = replace(filter, created_since=words.since(request.since))
            page = await self._jobs.list(filter, limit=limit, offset=offset)
        return pb.ListCommandsResponse(
            commands=[_job(job) for job in page.jobs], total=page.total, limit=limit, offset=offset
        )

    async def CancelCommand(self, request: pb.CancelCommandRequest, context: Any) -> pb.CancelCommandResponse:
        job = await self._jobs.cancel(request.job_id, by=current_principal.get().name, origin=words.ORIGIN, once=True)
        return pb.CancelCommandResponse(
            job_id=job.job_id, message="Command cancelled successfully", status=words.status(job)
        )

    def _new_job(self, request: pb.ExecuteCommandRequest) -> NewJob:
        if not request.command:
            raise InvalidArgument(field="command", problem="name the program to run")
        directory = request.working_dir or self._working_directory
        return NewJob(
            kind=JobKind.COMMAND,
            origin=words.ORIGIN,
            steps=(Step(argv=(request.command, *request.args)),),
            environment=dict(request.env),
            # A relative one counts from the root: the service has no folder of its own that a client could mean.
            working_directory=f"/{directory}" if directory and not directory.startswith("/") else directory,
            timeout_seconds=words.timeout(request.timeout),
            priority=words.PRIORITIES.get(request.priority, 0),
            tags=dict(request.tags),
            annotations={"priority": request.priority or "normal", "working_dir": request.working_dir},
            request_id=request.idempotency_key,
        )


def _job(job: Job, output: Output | None = None) -> command_pb2.CommandJob:
    argv = job.spec.steps[0].argv
    complete = job.state.terminal
    message = command_pb2.CommandJob(
        job_id=job.job_id,
        command=argv[0],
        args=argv[1:],
        working_dir=job.annotations.get("working_dir", ""),
        env=job.spec.environment,
        timeout=int(job.spec.timeout_seconds),
        priority=job.annotations.get("priority", ""),
        tags=job.tags,
        status=words.status(job),
        created_at=times.timestamp(job.created_at),
        started_at=times.timestamp(job.started_at),
        completed_at=times.timestamp(words.ended_at(job)),
        exit_code=words.exit_code(job),
        error=words.error(job),
    )
    if output is not None:
        message.stdout = words.text(output.stdout, complete=complete)
        message.stderr = words.text(output.stderr, complete=complete)
        if not output.stderr:
            message.stderr = words.stderr_instead(job)
    message.duration_ms = words.duration_ms(job)
    return message
