"""A real gRPC server with servicers that do what a test says: faithful to the protos, no logic of the product."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Literal

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from runner.v1 import command_service_pb2_grpc, job_service_pb2_grpc, log_stream_service_pb2_grpc
from runner.v1.command_pb2 import Command
from runner.v1.command_service_pb2 import RunCommandRequest, RunCommandResponse
from runner.v1.job_pb2 import Attempt, Cancel, Job, JobEvent
from runner.v1.job_service_pb2 import (
    CancelJobRequest,
    CancelJobResponse,
    CreateJobRequest,
    CreateJobResponse,
    GetJobRequest,
    GetJobResponse,
    ListAttemptsRequest,
    ListAttemptsResponse,
    ListJobsRequest,
    ListJobsResponse,
    RetryJobRequest,
    RetryJobResponse,
    WaitJobRequest,
    WaitJobResponse,
    WatchJobsRequest,
    WatchJobsResponse,
)
from runner.v1.log_pb2 import LogEnd, LogRecord
from runner.v1.log_stream_service_pb2 import StreamLogsRequest, StreamLogsResponse
from runner.v1.outcome_pb2 import Outcome
from runner.v1.runner_pb2 import Runner
from runner.v1.runner_service_pb2 import ListRunnersRequest, ListRunnersResponse
from runner.v1.runner_service_pb2_grpc import RunnerServiceServicer, add_RunnerServiceServicer_to_server

Context = aio.ServicerContext[Any, Any]


def job_id(number: int) -> str:
    """Ids as the service makes them: a time in front, so that neighbours differ at the end alone."""
    return f"0199f3a0-7c11-7000-8000-{number:012x}"


def exited(code: int = 0) -> Outcome:
    return Outcome(kind=Outcome.KIND_EXITED, exit_code=code)


class Log:
    """The log of one job; a test appends while a client follows."""

    def __init__(self) -> None:
        self.messages: list[StreamLogsResponse] = []
        self.changed = asyncio.Event()

    def append(self, stdout: bytes = b"", stderr: bytes = b"") -> None:
        records = []
        if stdout:
            records.append(LogRecord(stream=LogRecord.STREAM_STDOUT, data=stdout))
        if stderr:
            records.append(LogRecord(stream=LogRecord.STREAM_STDERR, data=stderr))
        self.add(*records)

    def add(self, *records: LogRecord, end: LogEnd | None = None) -> None:
        cursor = f"c{len(self.messages) + 1}"
        self.messages.append(StreamLogsResponse(cursor=cursor, records=records, attempt_id="attempt-1", end=end))
        self.changed.set()
        self.changed = asyncio.Event()


class Cut:
    """Ends a stream behind so many of its messages: with a status, or without a word when it has none."""

    def __init__(self, after: int, code: grpc.StatusCode | None = grpc.StatusCode.UNAVAILABLE) -> None:
        self.after = after
        self.code = code


class Happened(asyncio.Event):
    """Something that a test waits for: a test in which it never happens fails and does not hang."""

    async def wait(self) -> Literal[True]:
        async with asyncio.timeout(60):
            return await super().wait()


class ScriptedServer(
    command_service_pb2_grpc.CommandServiceServicer,
    job_service_pb2_grpc.JobServiceServicer,
    log_stream_service_pb2_grpc.LogStreamServiceServicer,
    RunnerServiceServicer,
):
    """What clients asked for is in ``calls``; what they are told is set before or while they ask."""

    def __init__(self) -> None:
        self.calls: list[tuple[Message, Mapping[str, str]]] = []
        self.jobs: dict[str, Job] = {}
        self.logs: dict[str, Log] = {}
        self.attempts: list[Attempt] = []
        self.runners: list[Runner] = []
        self.events: list[JobEvent] = []
        self.failures: deque[tuple[grpc.StatusCode, str, list[Message]]] = deque()
        """Taken one by one by unary calls before they do anything."""
        self.failures_after: deque[grpc.StatusCode] = deque()
        """Taken one by one by mutations after they have had their effect: the reply that was lost."""
        self.cuts: deque[Cut] = deque()
        """Taken one by one by streams."""
        self.on_run: Callable[[Log], None] = lambda log: None
        self.ran = Happened()
        self.following = Happened()
        self.cancelled = Happened()
        self.cancel_ends = True
        self.page_limit = 500
        self._by_request_id: dict[str, str] = {}
        self.port = 0
        self._server: aio.Server | None = None

    async def start(self, address: str | None = None, *, tls: tuple[bytes, bytes] | None = None) -> None:
        self._server = aio.server(options=[("grpc.so_reuseport", 0)])
        command_service_pb2_grpc.add_CommandServiceServicer_to_server(self, self._server)
        job_service_pb2_grpc.add_JobServiceServicer_to_server(self, self._server)
        log_stream_service_pb2_grpc.add_LogStreamServiceServicer_to_server(self, self._server)
        add_RunnerServiceServicer_to_server(self, self._server)
        address = address or f"127.0.0.1:{self.port}"
        if tls is None:
            bound = self._server.add_insecure_port(address)
        else:
            bound = self._server.add_secure_port(address, grpc.ssl_server_credentials([tls]))
        self.port = self.port or bound
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def add_job(self, job: Job | None = None) -> str:
        """Makes a job that runs, with an empty log."""
        new = Job(job_id=job_id(len(self.jobs) + 1), state=Job.STATE_RUNNING, origin="native")
        new.create_time.GetCurrentTime()
        new.start_time.GetCurrentTime()
        if job is not None:
            new.MergeFrom(job)
        self.jobs[new.job_id] = new
        self.logs[new.job_id] = Log()
        return new.job_id

    def finish(self, job: str, outcome: Outcome, state: Job.State.ValueType | None = None) -> None:
        """Ends a job: its state, the end of its log, its last event."""
        found = self.jobs[job]
        if state is None:
            good = outcome.kind == Outcome.KIND_EXITED and outcome.exit_code == 0
            state = Job.STATE_SUCCEEDED if good else Job.STATE_FAILED
        found.state = state
        found.outcome.CopyFrom(outcome)
        found.finish_time.GetCurrentTime()
        self.logs[job].add(end=LogEnd(state=state, outcome=outcome, complete=state != Job.STATE_LOST))

    def asked(self, kind: type[Message]) -> list[Any]:
        return [request for request, _ in self.calls if isinstance(request, kind)]

    async def _enter(self, request: Message, context: Context) -> None:
        metadata = {key: str(value) for key, value in context.invocation_metadata() or ()}
        copy = type(request)()
        copy.CopyFrom(request)
        self.calls.append((copy, metadata))
        if self.failures:
            await fail(context, *self.failures.popleft())

    async def _leave(self, context: Context) -> None:
        if self.failures_after:
            await context.abort(self.failures_after.popleft(), "the reply was lost")

    async def _job(self, wanted: str, context: Context) -> Job:
        if wanted not in self.jobs:
            info = error_details_pb2.ErrorInfo(reason="JOB_NOT_FOUND", metadata={"job_id": wanted})
            await fail(context, grpc.StatusCode.NOT_FOUND, f"There is no job with the id {wanted}.", [info])
        return self.jobs[wanted]

    async def RunCommand(self, request: RunCommandRequest, context: Context) -> RunCommandResponse:
        await self._enter(request, context)
        if request.request_id not in self._by_request_id:
            self._by_request_id[request.request_id] = made = self.add_job(Job(kind=Job.KIND_COMMAND))
            self.on_run(self.logs[made])
            self.ran.set()
        await self._leave(context)
        return RunCommandResponse(command=Command(job_id=self._by_request_id[request.request_id], argv=request.argv))

    async def CreateJob(self, request: CreateJobRequest, context: Context) -> CreateJobResponse:
        await self._enter(request, context)
        made = self.add_job(Job(kind=Job.KIND_JOB, spec=request.spec, priority=request.priority, tags=request.tags))
        self.on_run(self.logs[made])
        self.ran.set()
        await self._leave(context)
        return CreateJobResponse(job=self.jobs[made])

    async def GetJob(self, request: GetJobRequest, context: Context) -> GetJobResponse:
        await self._enter(request, context)
        return GetJobResponse(job=await self._job(request.job_id, context))

    async def ListJobs(self, request: ListJobsRequest, context: Context) -> ListJobsResponse:
        await self._enter(request, context)
        jobs = [job for job in reversed(self.jobs.values()) if not request.states or job.state in request.states]
        start, size = int(request.page_token or 0), min(request.page_size or 50, self.page_limit)
        more = str(start + size) if start + size < len(jobs) else ""
        return ListJobsResponse(jobs=jobs[start : start + size], next_page_token=more, total_size=len(jobs))

    async def CancelJob(self, request: CancelJobRequest, context: Context) -> CancelJobResponse:
        await self._enter(request, context)
        job = await self._job(request.job_id, context)
        if job.HasField("finish_time"):
            info = error_details_pb2.ErrorInfo(reason="JOB_FINISHED", metadata={"job_id": job.job_id})
            await fail(context, grpc.StatusCode.FAILED_PRECONDITION, f"The job {job.job_id} has ended already.", [info])
        job.cancel.CopyFrom(Cancel(by="user", reason=request.reason))
        if self.cancel_ends:
            self.finish(job.job_id, Outcome(kind=Outcome.KIND_CANCELLED, detail="user"), Job.STATE_CANCELLED)
        self.cancelled.set()
        return CancelJobResponse(job=job)

    async def RetryJob(self, request: RetryJobRequest, context: Context) -> RetryJobResponse:
        await self._enter(request, context)
        old = await self._job(request.job_id, context)
        made = self.add_job(Job(kind=old.kind, spec=old.spec, retry_of=old.job_id))
        self.on_run(self.logs[made])
        return RetryJobResponse(job=self.jobs[made])

    async def WaitJob(self, request: WaitJobRequest, context: Context) -> WaitJobResponse:
        await self._enter(request, context)
        job = await self._job(request.job_id, context)
        self.following.set()
        while not job.HasField("finish_time"):
            await self.logs[job.job_id].changed.wait()
        return WaitJobResponse(job=job)

    async def ListAttempts(self, request: ListAttemptsRequest, context: Context) -> ListAttemptsResponse:
        await self._enter(request, context)
        return ListAttemptsResponse(attempts=self.attempts)

    async def ListRunners(self, request: ListRunnersRequest, context: Context) -> ListRunnersResponse:
        await self._enter(request, context)
        return ListRunnersResponse(runners=self.runners)

    async def WatchJobs(self, request: WatchJobsRequest, context: Context) -> AsyncIterator[WatchJobsResponse]:
        await self._enter(request, context)
        cut = self.cuts.popleft() if self.cuts else None
        waiting = [event for event in self.events if event.sequence > request.after]
        for sent, event in enumerate(waiting):
            if cut is not None and sent == cut.after:
                if cut.code is not None:
                    await context.abort(cut.code, "cut")
                return
            yield WatchJobsResponse(event=event)

    async def StreamLogs(self, request: StreamLogsRequest, context: Context) -> AsyncIterator[StreamLogsResponse]:
        await self._enter(request, context)
        await self._job(request.job_id, context)
        log = self.logs[request.job_id]
        cut = self.cuts.popleft() if self.cuts else None
        self.following.set()
        index, sent = int(request.cursor.removeprefix("c") or 0), 0
        while True:
            if cut is not None and sent == cut.after:
                if cut.code is not None:
                    await context.abort(cut.code, "cut")
                return
            if index < len(log.messages):
                message = log.messages[index]
                index, sent = index + 1, sent + 1
                yield _filtered(message, request)
                if message.HasField("end"):
                    return
            elif request.follow:
                await log.changed.wait()
            else:
                state = self.jobs[request.job_id].state
                yield StreamLogsResponse(cursor=f"c{index}", end=LogEnd(state=state, complete=True))
                return


def _filtered(message: StreamLogsResponse, request: StreamLogsRequest) -> StreamLogsResponse:
    if not request.streams:
        return message
    kept = StreamLogsResponse()
    kept.CopyFrom(message)
    del kept.records[:]
    kept.records.extend(record for record in message.records if record.stream in request.streams)
    return kept


async def fail(context: Context, code: grpc.StatusCode, message: str, details: list[Message]) -> None:
    """Ends a call with a ``google.rpc.Status``, as the service does."""
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    trailing = (("grpc-status-details-bin", status.SerializeToString()),) if details else ()
    await context.abort(code, message, trailing)
