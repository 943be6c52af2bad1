"""RunnerService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from runner.v1 import runner_pb2, runner_service_pb2_grpc
from runner.v1 import runner_service_pb2 as pb
from runner_service.domain.errors import InvalidArgument
from runner_service.domain.runners import Runner
from runner_service.rpc.access import current_principal
from runner_service.rpc.convert import paging, times
from runner_service.rpc.convert import runners as convert
from runner_service.rpc.repeats import current_mark
from runner_service.services.runners import (
    FeedEnd,
    Operation,
    RunnerBatch,
    RunnerControl,
    RunnerCredentials,
    RunnerFeeds,
    RunnerMetrics,
    Runners,
    RunnerStatus,
)
from runner_service.services.runners.batch import Options

_DAY = 86_400
_OPERATIONS = {
    pb.BatchOperateRunnersRequest.Operation.Value(f"OPERATION_{operation.name}"): operation for operation in Operation
}


class RunnerServicer(runner_service_pb2_grpc.RunnerServiceServicer):
    """Converts, calls one service function, converts."""

    def __init__(
        self,
        *,
        runners: Runners,
        control: RunnerControl,
        status: RunnerStatus,
        metrics: RunnerMetrics,
        feeds: RunnerFeeds,
        batch: RunnerBatch,
        credentials: RunnerCredentials,
    ) -> None:
        self._runners = runners
        self._control = control
        self._status = status
        self._metrics = metrics
        self._feeds = feeds
        self._batch = batch
        self._credentials = credentials

    async def RegisterRunner(self, request: pb.RegisterRunnerRequest, context: Any) -> pb.RegisterRunnerResponse:
        local = context.peer().startswith("unix")
        runner, credential = await self._runners.register(
            convert.new_runner(request, local=local), mark=current_mark.get()
        )
        return pb.RegisterRunnerResponse(runner=await self._shown(runner), credential=credential)

    async def RejoinRunner(self, request: pb.RejoinRunnerRequest, context: Any) -> pb.RejoinRunnerResponse:
        return pb.RejoinRunnerResponse(credential=await self._credentials.anew(request.runner_id, request.credential))

    async def GetRunner(self, request: pb.GetRunnerRequest, context: Any) -> pb.GetRunnerResponse:
        view = await self._status.view(request.runner_id)
        return pb.GetRunnerResponse(
            runner=convert.runner(view, await self._status.statistics(request.runner_id)),
        )

    async def ListRunners(self, request: pb.ListRunnersRequest, context: Any) -> pb.ListRunnersResponse:
        limit = paging.size(request.page_size, default=100, most=1000)
        if request.state or request.kind or request.tags:
            filter = convert.filter_of(request.state, request.kind, request.tags)
            offset = paging.place(request.page_token)
            views, total = await self._status.page(filter, limit=limit, offset=offset)
            more = str(offset + limit) if total > offset + limit else ""
            return pb.ListRunnersResponse(runners=map(convert.runner, views), next_page_token=more)
        # One more than asked tells whether there is a next page.
        runners = await self._runners.list(limit=limit + 1, after=request.page_token)
        views = await self._status.of(runners[:limit])
        return pb.ListRunnersResponse(
            runners=map(convert.runner, views),
            next_page_token=runners[limit - 1].runner_id if len(runners) > limit else "",
        )

    async def UpdateRunner(self, request: pb.UpdateRunnerRequest, context: Any) -> pb.UpdateRunnerResponse:
        runner, _ = await self._runners.update(
            request.runner.runner_id, convert.update(request), mark=current_mark.get()
        )
        return pb.UpdateRunnerResponse(runner=await self._shown(runner))

    async def DeleteRunner(self, request: pb.DeleteRunnerRequest, context: Any) -> pb.DeleteRunnerResponse:
        by = current_principal.get().name
        mark = current_mark.get()
        cancelled = await self._runners.delete(request.runner_id, force=request.force, by=by, mark=mark)
        return pb.DeleteRunnerResponse(cancelled_job_ids=[job.job_id for job in cancelled])

    async def StartRunner(self, request: pb.StartRunnerRequest, context: Any) -> pb.StartRunnerResponse:
        runner = await self._control.start(request.runner_id, mark=current_mark.get())
        return pb.StartRunnerResponse(runner=await self._shown(runner))

    async def StopRunner(self, request: pb.StopRunnerRequest, context: Any) -> pb.StopRunnerResponse:
        runner = await self._control.stop(
            request.runner_id,
            graceful=request.graceful,
            timeout=_timeout(request),
            reason=request.reason,
            mark=current_mark.get(),
        )
        return pb.StopRunnerResponse(runner=await self._shown(runner))

    async def DrainRunner(self, request: pb.DrainRunnerRequest, context: Any) -> pb.DrainRunnerResponse:
        runner = await self._control.drain(
            request.runner_id, timeout=_timeout(request), reason=request.reason, mark=current_mark.get()
        )
        return pb.DrainRunnerResponse(runner=await self._shown(runner))

    async def RestartRunner(self, request: pb.RestartRunnerRequest, context: Any) -> pb.RestartRunnerResponse:
        runner = await self._control.restart(
            request.runner_id,
            graceful=request.graceful,
            timeout=_timeout(request),
            reason=request.reason,
            mark=current_mark.get(),
        )
        return pb.RestartRunnerResponse(runner=await self._shown(runner))

    async def GetRunnerConfig(self, request: pb.GetRunnerConfigRequest, context: Any) -> pb.GetRunnerConfigResponse:
        runner = await self._runners.get(request.runner_id)
        profile = await self._runners.profile(request.runner_id)
        return pb.GetRunnerConfigResponse(
            config=convert.config(profile.config, slots=runner.slots), update_time=times.timestamp(profile.config_at)
        )

    async def UpdateRunnerConfig(
        self, request: pb.UpdateRunnerConfigRequest, context: Any
    ) -> pb.UpdateRunnerConfigResponse:
        changes = convert.config_changes(request.config, request.update_mask.paths)
        config = await self._runners.update_config(request.runner_id, changes, mark=current_mark.get())
        return pb.UpdateRunnerConfigResponse(config=convert.config(config))

    async def GetRunnerStatus(self, request: pb.GetRunnerStatusRequest, context: Any) -> pb.GetRunnerStatusResponse:
        view = await self._status.view(request.runner_id)
        found = await self._status.last(view)
        return pb.GetRunnerStatusResponse(
            runner=convert.runner(view), health=convert.health(found), capabilities=found.capabilities
        )

    async def CheckRunnerHealth(
        self, request: pb.CheckRunnerHealthRequest, context: Any
    ) -> pb.CheckRunnerHealthResponse:
        found = await self._status.check(request.runner_id)
        return pb.CheckRunnerHealthResponse(health=convert.health(found))

    async def QueryRunnerMetrics(
        self, request: pb.QueryRunnerMetricsRequest, context: Any
    ) -> pb.QueryRunnerMetricsResponse:
        found = await self._metrics.query(
            request.runner_id,
            period=request.period.seconds if request.HasField("period") else _DAY,
            resolution=request.resolution.seconds if request.HasField("resolution") else 300,
        )
        return pb.QueryRunnerMetricsResponse(metrics=convert.metrics(found))

    async def BatchOperateRunners(
        self, request: pb.BatchOperateRunnersRequest, context: Any
    ) -> pb.BatchOperateRunnersResponse:
        operation = _OPERATIONS.get(request.operation)
        if operation is None:
            raise InvalidArgument(field="operation", problem="say what to do")
        results = await self._batch.operate(
            operation,
            convert.filter_of(request.state, request.kind, request.tags),
            Options(
                changes=convert.config_changes(request.config, request.update_mask.paths),
                graceful=request.graceful,
                timeout=_timeout(request),
                reason=request.reason,
                force=request.force,
            ),
            by=current_principal.get().name,
            mark=current_mark.get(),
        )
        return pb.BatchOperateRunnersResponse(
            results=[
                pb.BatchOperateRunnersResponse.Result(
                    runner_id=result.runner_id,
                    error_reason=result.error.reason if result.error is not None else "",
                    error_message=result.error.message if result.error is not None else "",
                )
                for result in results
            ]
        )

    async def WatchRunners(
        self, request: pb.WatchRunnersRequest, context: Any
    ) -> AsyncIterator[pb.WatchRunnersResponse]:
        after = paging.number("last_event_id", request.last_event_id) or request.after
        async for event in self._runners.watch(after=after):
            yield pb.WatchRunnersResponse(event=convert.event(event))

    async def ListRunnerLogs(self, request: pb.ListRunnerLogsRequest, context: Any) -> pb.ListRunnerLogsResponse:
        limit = paging.size(request.page_size, default=100, most=10_000)
        page = await self._feeds.page(request.runner_id, convert.query(request, limit=limit))
        return pb.ListRunnerLogsResponse(
            entries=map(convert.entry, page.entries), total_size=page.total, has_more=page.has_more
        )

    async def StreamRunnerLogs(
        self, request: pb.StreamRunnerLogsRequest, context: Any
    ) -> AsyncIterator[pb.StreamRunnerLogsResponse]:
        query = convert.query(request, limit=paging.size(request.page_size, default=100, most=10_000))
        after = paging.number("last_event_id", request.last_event_id) or request.after or None
        async for entry in self._feeds.follow(request.runner_id, query, after=after):
            if isinstance(entry, FeedEnd):
                yield pb.StreamRunnerLogsResponse(end_reason=entry.reason)
            else:
                yield pb.StreamRunnerLogsResponse(entry=convert.entry(entry))

    async def _shown(self, runner: Runner) -> runner_pb2.Runner:
        (view,) = await self._status.of([runner])
        return convert.runner(view)


def _timeout(request: Any) -> float | None:
    return times.check_not_negative("timeout", request.timeout) if request.HasField("timeout") else None
