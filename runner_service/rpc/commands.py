"""CommandService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from runner.v1 import command_service_pb2 as pb
from runner.v1 import command_service_pb2_grpc
from runner_service.domain.errors import InvalidArgument
from runner_service.domain.jobs import Job, JobKind, Stdin
from runner_service.ports.store import JobFilter
from runner_service.rpc.access import current_principal
from runner_service.rpc.convert import commands as convert
from runner_service.rpc.convert import exec as convert_exec
from runner_service.rpc.convert import jobs as convert_jobs
from runner_service.rpc.convert import paging, times
from runner_service.services.exec import Exec, Given
from runner_service.services.jobs import Jobs

_WAIT_MOST_SECONDS = 300.0


class CommandServicer(command_service_pb2_grpc.CommandServiceServicer):
    """Converts, calls one service function, converts."""

    def __init__(self, jobs: Jobs, exec: Exec) -> None:
        self._jobs = jobs
        self._exec = exec

    async def RunCommand(self, request: pb.RunCommandRequest, context: Any) -> pb.RunCommandResponse:
        wait = min(times.check_not_negative("wait", request.wait), _WAIT_MOST_SECONDS)
        by = current_principal.get().name
        job = await self._jobs.create(convert.new_job(request), by=by, wait_seconds=wait)
        return pb.RunCommandResponse(command=convert.command(job))

    async def GetCommand(self, request: pb.GetCommandRequest, context: Any) -> pb.GetCommandResponse:
        job = await self._jobs.get(request.job_id, kind=JobKind.COMMAND)
        return pb.GetCommandResponse(command=convert.command(job))

    async def ListCommands(self, request: pb.ListCommandsRequest, context: Any) -> pb.ListCommandsResponse:
        filter = JobFilter(
            kinds=frozenset({JobKind.COMMAND}),
            states=convert_jobs.states(request.states),
            created_since=times.micros(request.created_since) if request.HasField("created_since") else None,
            created_before=times.micros(request.created_before) if request.HasField("created_before") else None,
            tags=dict(request.tags),
        )
        page = await self._jobs.list(
            filter,
            limit=paging.size(request.page_size, default=50, most=500),
            offset=paging.skip(request.skip),
            after=request.page_token,
        )
        return pb.ListCommandsResponse(
            commands=[convert.command(job) for job in page.jobs],
            next_page_token=page.next_after,
            total_size=page.total,
        )

    async def CancelCommand(self, request: pb.CancelCommandRequest, context: Any) -> pb.CancelCommandResponse:
        by, again = current_principal.get().name, bool(request.request_id)
        job = await self._jobs.cancel(
            request.job_id, by=by, reason=request.reason, kind=JobKind.COMMAND, repeatable=again
        )
        return pb.CancelCommandResponse(command=convert.command(job))

    async def ExecCommand(
        self, requests: AsyncIterator[pb.ExecCommandRequest], context: Any
    ) -> AsyncIterator[pb.ExecCommandResponse]:
        first = await anext(aiter(requests), pb.ExecCommandRequest())
        job = await self._open(first)
        known = await self._exec.status(job, writer=first.writer_id)
        yield convert_exec.started(job, known)
        given, cursor = _given(requests), first.attach.cursor
        async for item in self._exec.connect(job, cursor=cursor, given=given, known=known, writer=first.writer_id):
            yield convert_exec.response(item)

    async def _open(self, first: pb.ExecCommandRequest) -> Job:
        by = current_principal.get().name
        if first.HasField("start"):
            return await self._jobs.create(convert.new_job(first.start, stdin=Stdin.PIPE), by=by)
        if not first.HasField("attach"):
            raise InvalidArgument(field="request", problem="the first message is start or attach")
        if first.attach.request_id:
            return await self._jobs.by_request(first.attach.request_id, by=by)
        return await self._jobs.get(first.attach.job_id)


async def _given(requests: AsyncIterator[pb.ExecCommandRequest]) -> AsyncIterator[Given]:
    async for request in requests:
        yield convert_exec.given(request)
