"""Control of runners, as typed calls: :attr:`runner_client.AsyncClient.runners`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, TypeAlias

from google.protobuf.duration_pb2 import Duration
from grpc import aio

from runner.v1.runner_pb2 import RunnerLogEntry
from runner.v1.runner_service_pb2 import (
    CheckRunnerHealthRequest,
    DeleteRunnerRequest,
    GetRunnerStatusRequest,
    GetRunnerStatusResponse,
    ListRunnerLogsRequest,
    RestartRunnerRequest,
    StopRunnerRequest,
    StreamRunnerLogsRequest,
    StreamRunnerLogsResponse,
)
from runner.v1.runner_service_pb2_grpc import RunnerServiceStub
from runner_client.calls import CALL_SECONDS, Caller

if TYPE_CHECKING:
    from runner.v1.runner_pb2 import Runner, RunnerHealth

Level: TypeAlias = "RunnerLogEntry.Level.ValueType"
ANY_LEVEL: Level = RunnerLogEntry.LEVEL_UNSPECIFIED
KILL_SECONDS = 30.0
"""What the server may need beyond a stop's own time."""


class RunnerCalls:
    """Control of the runners of a server. Made by the client, which lists, drains and starts them itself."""

    def __init__(self, channel: aio.Channel, caller: Caller) -> None:
        self._stub = RunnerServiceStub(channel)
        self._caller = caller

    async def stop(self, runner_id: str, *, timeout: float | None = None, reason: str = "") -> Runner:
        """Stops a runner and returns when it has stopped. ``timeout``: its jobs get so many seconds; None: none."""
        request = StopRunnerRequest(
            runner_id=runner_id, graceful=timeout is not None, timeout=_duration(timeout), reason=reason
        )
        seconds = CALL_SECONDS + KILL_SECONDS + (timeout or 0.0)
        return (await self._caller.unary(self._stub.StopRunner, request, seconds=seconds)).runner

    async def restart(self, runner_id: str, *, timeout: float | None = None, reason: str = "") -> Runner:
        """Lets a runner begin anew; returns at once. ``timeout`` as for `stop`."""
        request = RestartRunnerRequest(
            runner_id=runner_id, graceful=timeout is not None, timeout=_duration(timeout), reason=reason
        )
        return (await self._caller.unary(self._stub.RestartRunner, request)).runner

    async def delete(self, runner_id: str, *, force: bool = False) -> None:
        """Forgets a runner; with ``force`` its jobs are cancelled."""
        await self._caller.unary(self._stub.DeleteRunner, DeleteRunnerRequest(runner_id=runner_id, force=force))

    async def status(self, runner_id: str) -> GetRunnerStatusResponse:
        """How a runner is, as far as that is known without asking it."""
        return await self._caller.unary(self._stub.GetRunnerStatus, GetRunnerStatusRequest(runner_id=runner_id))

    async def check(self, runner_id: str) -> RunnerHealth:
        """Has a runner make its checks now."""
        request = CheckRunnerHealthRequest(runner_id=runner_id)
        return (await self._caller.unary(self._stub.CheckRunnerHealth, request)).health

    async def logs(
        self,
        runner_id: str,
        *,
        level: RunnerLogEntry.Level.ValueType = RunnerLogEntry.LEVEL_UNSPECIFIED,
        limit: int = 0,
    ) -> list[RunnerLogEntry]:
        """The newest entries of a runner's feed, in order of time. ``limit`` 0: the server's default."""
        request = ListRunnerLogsRequest(runner_id=runner_id, level=level, page_size=limit)
        return list((await self._caller.unary(self._stub.ListRunnerLogs, request)).entries)

    async def follow(
        self,
        runner_id: str,
        *,
        level: RunnerLogEntry.Level.ValueType = RunnerLogEntry.LEVEL_UNSPECIFIED,
        limit: int = 0,
    ) -> AsyncIterator[RunnerLogEntry]:
        """The same, then what comes, until the runner is deleted; also across cuts, without a gap or a repeat."""
        request = StreamRunnerLogsRequest(runner_id=runner_id, level=level, page_size=limit)

        def passed(message: StreamRunnerLogsResponse) -> bool:
            request.after = message.entry.number or request.after
            return bool(message.end_reason)

        async for message in self._caller.stream(self._stub.StreamRunnerLogs, request, passed=passed):
            if message.HasField("entry"):
                yield message.entry


def _duration(seconds: float | None) -> Duration | None:
    return None if seconds is None else Duration(seconds=int(seconds), nanos=round(seconds % 1 * 1e9))
