"""The client: what a service or a person asks of a server, as typed calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, Unpack

from runner.v1.log_pb2 import LogEnd, LogRecord
from runner.v1.log_stream_service_pb2 import StreamLogsRequest, StreamLogsResponse
from runner.v1.log_stream_service_pb2_grpc import LogStreamServiceStub
from runner_client.calls import CALL_SECONDS, Caller
from runner_client.channel import DEFAULT_TARGET, Tls, open_channel
from runner_client.requests import CommandOptions, duration_of, new_request_id, run_command

if TYPE_CHECKING:
    from runner.v1.command_pb2 import Command
    from runner.v1.command_service_pb2_grpc import CommandServiceAsyncStub
    from runner.v1.job_pb2 import Attempt, Job, JobEvent, JobSpec
    from runner.v1.job_service_pb2_grpc import JobServiceAsyncStub
    from runner.v1.runner_pb2 import Runner
    from runner.v1.runner_service_pb2_grpc import RunnerServiceAsyncStub
    from runner_client.agent_reports import AgentReportCalls
    from runner_client.agents import AgentCalls
    from runner_client.artifacts import ArtifactCalls
    from runner_client.auth import AuthCalls
    from runner_client.exec import ExecSession
    from runner_client.images import ImageCalls
    from runner_client.queues import QueueCalls
    from runner_client.runners import RunnerCalls
    from runner_client.secrets import SecretCalls

WAIT_SECONDS = 60.0
"""How long one WaitJob parks at the server; :meth:`AsyncClient.wait` makes as many as it needs."""

PAGE_SIZE = 500


class AsyncClient:
    """One server. An async context manager; make it inside a running loop, and share it freely within that loop.

    ``target`` is ``HOST:PORT`` or ``unix:PATH``. ``patience``: seconds for which a server that goes away is waited
    for before :class:`~runner_client.errors.Unavailable` is raised; ``connect_patience``: the same for one that has
    never answered. Calls raise :class:`~runner_client.errors.ClientError`.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        token: str | None = None,
        tls: Tls | None = None,
        patience: float = 120.0,
        connect_patience: float = 5.0,
    ) -> None:
        self._channel = open_channel(target, tls)
        self._caller = Caller(token=token, patience=patience, connect_patience=connect_patience)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._channel.close()

    async def run(
        self,
        argv: Sequence[str],
        *,
        interactive: bool = False,
        terminal: tuple[int, int] | None = None,
        wait: float = 0.0,
        **options: Unpack[CommandOptions],
    ) -> Command:
        """Queues a command and returns it at once; with ``wait``, once it has ended, or as it stands after so many
        seconds, at most 300.

        ``interactive``: :meth:`attach` can give it input; with a ``terminal``, rows and columns, in one.
        """
        stdin = interactive or terminal is not None
        request = run_command(argv, stdin=stdin, terminal=terminal, wait=wait, **options)
        return (await self._caller.unary(self._commands.RunCommand, request, seconds=CALL_SECONDS + wait)).command

    def exec(
        self,
        argv: Sequence[str],
        *,
        terminal: tuple[int, int] | None = None,
        writer_id: str = "",
        **options: Unpack[CommandOptions],
    ) -> ExecSession:
        """Runs a command with its standard input connected, or attaches to the one that ``request_id`` made before.

        ``terminal``: its rows and columns; without one, input and outputs are pipes. ``writer_id``: whom to go on as.
        """
        from runner.v1.command_service_pb2 import ExecCommandRequest
        from runner_client.exec import ExecSession

        start = run_command(argv, stdin=True, terminal=terminal, **options)
        opening = ExecCommandRequest(start=start, writer_id=writer_id)
        return ExecSession(self._caller, self._commands.ExecCommand, opening)

    def attach(self, job_id: str = "", *, request_id: str = "", cursor: str = "", writer_id: str = "") -> ExecSession:
        """Connects with a job, by its id or by the request id that this caller made it with."""
        from runner.v1.command_service_pb2 import ExecAttach, ExecCommandRequest
        from runner_client.exec import ExecSession

        attach = ExecAttach(job_id=job_id, request_id=request_id, cursor=cursor)
        opening = ExecCommandRequest(attach=attach, writer_id=writer_id)
        return ExecSession(self._caller, self._commands.ExecCommand, opening)

    async def create_job(
        self,
        spec: JobSpec,
        *,
        priority: int = 0,
        tags: Mapping[str, str] | None = None,
        request_id: str | None = None,
    ) -> Job:
        """Queues a job and returns it at once."""
        from runner.v1.job_service_pb2 import CreateJobRequest

        request = CreateJobRequest(spec=spec, priority=priority, tags=tags, request_id=request_id or new_request_id())
        return (await self._caller.unary(self._jobs.CreateJob, request)).job

    async def get_job(self, job_id: str) -> Job:
        """Returns one job, of any kind and dialect."""
        from runner.v1.job_service_pb2 import GetJobRequest

        return (await self._caller.unary(self._jobs.GetJob, GetJobRequest(job_id=job_id))).job

    async def list_jobs(
        self,
        *,
        states: Iterable[Job.State.ValueType] = (),
        kinds: Iterable[Job.Kind.ValueType] = (),
        origin: str = "",
        runner_id: str = "",
        tags: Mapping[str, str] | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[Job]:
        """Yields jobs, newest first, page by page. ``limit``: at most so many; default: all."""
        from runner.v1.job_service_pb2 import ListJobsRequest

        left = PAGE_SIZE if limit is None else limit
        request = ListJobsRequest(states=states, kinds=kinds, origin=origin, runner_id=runner_id, tags=tags)
        while left > 0:
            request.page_size = min(left, PAGE_SIZE)
            page = await self._caller.unary(self._jobs.ListJobs, request)
            for job in page.jobs:
                yield job
            if limit is not None:
                left -= len(page.jobs)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def list_attempts(self, job_id: str) -> list[Attempt]:
        """Returns the attempts of a job, oldest first."""
        from runner.v1.job_service_pb2 import ListAttemptsRequest

        reply = await self._caller.unary(self._jobs.ListAttempts, ListAttemptsRequest(job_id=job_id))
        return list(reply.attempts)

    async def cancel(self, job_id: str, *, reason: str = "") -> Job:
        """Asks for a job or command to be ended. Raises ``FailedPrecondition`` when it has ended already."""
        from runner.v1.job_service_pb2 import CancelJobRequest

        return (await self._caller.unary(self._jobs.CancelJob, CancelJobRequest(job_id=job_id, reason=reason))).job

    async def retry(self, job_id: str, *, request_id: str | None = None) -> Job:
        """Queues a new job of what one that has ended was asked to do, and returns the new one."""
        from runner.v1.job_service_pb2 import RetryJobRequest

        request = RetryJobRequest(job_id=job_id, request_id=request_id or "")
        return (await self._caller.unary(self._jobs.RetryJob, request)).job

    async def wait(self, job_id: str) -> Job:
        """Returns the job when it has ended, however long that takes; bound it with ``asyncio.timeout``."""
        from runner.v1.job_service_pb2 import WaitJobRequest

        request = WaitJobRequest(job_id=job_id, timeout=duration_of(WAIT_SECONDS))
        while True:
            reply = await self._caller.unary(self._jobs.WaitJob, request, seconds=CALL_SECONDS + WAIT_SECONDS)
            if reply.job.HasField("finish_time"):
                return reply.job

    def follow(
        self,
        job_id: str,
        *,
        cursor: str = "",
        follow: bool = True,
        streams: Iterable[LogRecord.Stream.ValueType] = (),
    ) -> AsyncIterator[StreamLogsResponse]:
        """Yields the log of a job from ``cursor`` on, without a gap or a duplicate; the last message has ``end``.

        A stream that is cut is resumed behind the last message. To go on in another process, keep the ``cursor`` of
        the last message that was dealt with whole. With ``follow=False`` it ends at what is there now.
        """
        request = StreamLogsRequest(job_id=job_id, cursor=cursor, follow=follow, streams=streams)

        def passed(message: StreamLogsResponse) -> bool:
            request.cursor = message.cursor or request.cursor
            return message.HasField("end")

        return self._caller.stream(self._logs.StreamLogs, request, passed=passed)

    def watch(self, job_id: str = "", *, after: int = 0) -> AsyncIterator[JobEvent]:
        """Yields the moves of one job up to its end, or of all jobs for ever, behind the event ``after``.

        With neither, from the present on; a stream that is cut before its first event then resumes at the present of
        that moment.
        """
        from runner.v1.job_service_pb2 import WatchJobsRequest, WatchJobsResponse

        request = WatchJobsRequest(job_id=job_id, after=after)

        def passed(message: WatchJobsResponse) -> bool:
            request.after = message.event.sequence
            return bool(job_id) and message.event.kind == "finished"

        messages = self._caller.stream(self._jobs.WatchJobs, request, passed=passed)
        return _events(messages)

    async def run_and_stream(
        self,
        argv: Sequence[str],
        *,
        stdout: Callable[[bytes], object],
        stderr: Callable[[bytes], object],
        **options: Any,
    ) -> LogEnd:
        """Runs a command, hands its output out as it is written, and returns how it ended.

        ``options`` are those of :meth:`run`. The command goes on when this is cancelled; :meth:`cancel` ends it.
        """
        command = await self.run(argv, **options)
        end = LogEnd()
        async for message in self.follow(command.job_id):
            for record in message.records:
                (stderr if record.stream == LogRecord.STREAM_STDERR else stdout)(record.data)
            end = message.end
        return end

    async def list_runners(self) -> list[Runner]:
        """Returns all runners, in order of name."""
        from runner.v1.runner_service_pb2 import ListRunnersRequest

        request, runners = ListRunnersRequest(page_size=1_000), list[Any]()
        while True:
            page = await self._caller.unary(self._runners.ListRunners, request)
            runners += page.runners
            if not page.next_page_token:
                return runners
            request.page_token = page.next_page_token

    async def get_runner(self, runner_id: str) -> Runner:
        """Returns one runner."""
        from runner.v1.runner_service_pb2 import GetRunnerRequest

        request = GetRunnerRequest(runner_id=runner_id)
        return (await self._caller.unary(self._runners.GetRunner, request)).runner

    async def drain_runner(self, runner_id: str, *, reason: str = "") -> Runner:
        """Lets a runner finish what it has and take no more; returns at once."""
        from runner.v1.runner_service_pb2 import DrainRunnerRequest

        request = DrainRunnerRequest(runner_id=runner_id, reason=reason)
        return (await self._caller.unary(self._runners.DrainRunner, request)).runner

    async def start_runner(self, runner_id: str) -> Runner:
        """Lets a drained or stopped runner take work again."""
        from runner.v1.runner_service_pb2 import StartRunnerRequest

        return (await self._caller.unary(self._runners.StartRunner, StartRunnerRequest(runner_id=runner_id))).runner

    @cached_property
    def runners(self) -> RunnerCalls:
        """Control of runners."""
        from runner_client.runners import RunnerCalls

        return RunnerCalls(self._channel, self._caller)

    @cached_property
    def artifacts(self) -> ArtifactCalls:
        """Calls about files that jobs get and leave."""
        from runner_client.artifacts import ArtifactCalls

        return ArtifactCalls(self._channel, self._caller)

    @cached_property
    def secrets(self) -> SecretCalls:
        """Calls about secrets."""
        from runner_client.secrets import SecretCalls

        return SecretCalls(self._channel, self._caller)

    @cached_property
    def queues(self) -> QueueCalls:
        """Calls about lab queues."""
        from runner_client.queues import QueueCalls

        return QueueCalls(self._channel, self._caller)

    @cached_property
    def auth(self) -> AuthCalls:
        """Keys, the audit, and who one is."""
        from runner_client.auth import AuthCalls

        return AuthCalls(self._channel, self._caller)

    @cached_property
    def agents(self) -> AgentCalls:
        """Managed agents."""
        from runner_client.agents import AgentCalls

        return AgentCalls(self._channel, self._caller)

    @cached_property
    def agent_reports(self) -> AgentReportCalls:
        """Agents that report."""
        from runner_client.agent_reports import AgentReportCalls

        return AgentReportCalls(self._channel, self._caller)

    @cached_property
    def images(self) -> ImageCalls:
        """Images of agents."""
        from runner_client.images import ImageCalls

        return ImageCalls(self._channel, self._caller)

    # Stubs are loaded when they are first used: start-up of the command line is counted in milliseconds.

    @cached_property
    def _commands(self) -> CommandServiceAsyncStub:
        from runner.v1.command_service_pb2_grpc import CommandServiceStub

        return CommandServiceStub(self._channel)

    @cached_property
    def _jobs(self) -> JobServiceAsyncStub:
        from runner.v1.job_service_pb2_grpc import JobServiceStub

        return JobServiceStub(self._channel)

    @cached_property
    def _logs(self) -> Any:
        return LogStreamServiceStub(self._channel)

    @cached_property
    def _runners(self) -> RunnerServiceAsyncStub:
        from runner.v1.runner_service_pb2_grpc import RunnerServiceStub

        return RunnerServiceStub(self._channel)


async def _events(messages: AsyncIterator[Any]) -> AsyncIterator[JobEvent]:
    async for message in messages:
        yield message.event
