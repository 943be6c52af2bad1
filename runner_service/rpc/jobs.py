"""JobService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from runner.v1 import job_service_pb2 as pb
from runner.v1 import job_service_pb2_grpc
from runner_service.ports.store import JobFilter
from runner_service.rpc import repeats
from runner_service.rpc.access import current_principal
from runner_service.rpc.convert import inputs as convert_inputs
from runner_service.rpc.convert import jobs as convert
from runner_service.rpc.convert import paging, times
from runner_service.services.inputs import Inputs
from runner_service.services.jobs import Jobs
from runner_service.services.waiting import Waiting

_WAIT_SECONDS = 30.0
_WAIT_MOST_SECONDS = 300.0


class JobServicer(job_service_pb2_grpc.JobServiceServicer):
    """Converts, calls one service function, converts."""

    def __init__(self, jobs: Jobs, inputs: Inputs, waiting: Waiting) -> None:
        self._jobs = jobs
        self._waiting = waiting
        self._inputs = inputs

    async def CreateJob(self, request: pb.CreateJobRequest, context: Any) -> pb.CreateJobResponse:
        job = await self._jobs.create(convert.new_job(request), by=current_principal.get().name)
        return pb.CreateJobResponse(job=convert.job(job))

    async def GetJob(self, request: pb.GetJobRequest, context: Any) -> pb.GetJobResponse:
        job = await self._jobs.get(request.job_id)
        return pb.GetJobResponse(job=convert.job(job, why=await self._waiting.explain(job)))

    async def ListJobs(self, request: pb.ListJobsRequest, context: Any) -> pb.ListJobsResponse:
        filter = JobFilter(
            origin=request.origin or None,
            kinds=convert.kinds(request.kinds),
            states=convert.states(request.states),
            runner_id=request.runner_id or None,
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
        return pb.ListJobsResponse(
            jobs=[convert.job(job) for job in page.jobs], next_page_token=page.next_after, total_size=page.total
        )

    async def CancelJob(self, request: pb.CancelJobRequest, context: Any) -> pb.CancelJobResponse:
        by, again = current_principal.get().name, bool(request.request_id)
        job = await self._jobs.cancel(request.job_id, by=by, reason=request.reason, repeatable=again)
        return pb.CancelJobResponse(job=convert.job(job))

    async def RetryJob(self, request: pb.RetryJobRequest, context: Any) -> pb.RetryJobResponse:
        by = current_principal.get().name
        job = await self._jobs.retry(request.job_id, by=by, request_id=request.request_id)
        return pb.RetryJobResponse(job=convert.job(job))

    async def WaitJob(self, request: pb.WaitJobRequest, context: Any) -> pb.WaitJobResponse:
        asked = times.check_not_negative("timeout", request.timeout)
        seconds = min(asked, _WAIT_MOST_SECONDS) if request.HasField("timeout") else _WAIT_SECONDS
        return pb.WaitJobResponse(job=convert.job(await self._jobs.wait(request.job_id, seconds=seconds)))

    async def WatchJobs(self, request: pb.WatchJobsRequest, context: Any) -> AsyncIterator[pb.WatchJobsResponse]:
        after = paging.event_number(request.last_event_id) if request.last_event_id else request.after
        async for event in self._jobs.watch(job_id=request.job_id, after=after):
            yield pb.WatchJobsResponse(event=convert.event(event))

    async def AppendInput(self, request: pb.AppendInputRequest, context: Any) -> pb.AppendInputResponse:
        records = convert_inputs.records_from(request.records)
        at, writer = request.offset if request.HasField("offset") else None, request.writer_id
        if request.request_id and at is None and not writer:
            # A writer that writes once: said again, nothing is given twice.
            at, writer = 0, repeats.key_of(request.request_id)
        status = await self._inputs.put(request.job_id, records, at, writer=writer)
        return pb.AppendInputResponse(status=convert_inputs.status(status))

    async def ListAttempts(self, request: pb.ListAttemptsRequest, context: Any) -> pb.ListAttemptsResponse:
        attempts = await self._jobs.attempts(request.job_id)
        return pb.ListAttemptsResponse(attempts=[convert.attempt(attempt) for attempt in attempts])
