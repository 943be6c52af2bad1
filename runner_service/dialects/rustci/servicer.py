"""The façade servicer of RustCI's runners: translate, call a service, translate."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from runner.dialects.rustci.v1 import runner_pb2, runner_service_pb2_grpc
from runner.dialects.rustci.v1 import runner_service_pb2 as pb
from runner_service.dialects.rustci import bodies, shapes, words
from runner_service.domain.errors import (
    InvalidArgument,
    JobNotFound,
    RunnerBusy,
    RunnerError,
    RunnerNotFound,
    RunnerUnavailable,
)
from runner_service.domain.runners import RunnerState
from runner_service.rpc.access import current_principal
from runner_service.rpc.convert import times
from runner_service.services.jobs import Jobs
from runner_service.services.runners import REGISTRATION_PREFIX, FeedEnd, FeedQuery, Operation, RunnerServices


class RustCiRunnerServicer(runner_service_pb2_grpc.RunnerServiceServicer):
    """RustCI's runner endpoints."""

    def __init__(self, *, runners: RunnerServices, jobs: Jobs) -> None:
        self._runners = runners
        self._jobs = jobs

    async def RegisterRunner(self, request: pb.RegisterRunnerRequest, context: Any) -> pb.RegisterRunnerResponse:
        runner, credential = await self._runners.registry.register(bodies.new_runner(request))
        return pb.RegisterRunnerResponse(
            success=True,
            runner_id=words.runner_id(runner.runner_id),
            registration_token=f"{REGISTRATION_PREFIX}{credential}",
            message="Runner registered successfully",
        )

    async def ListRunners(self, request: pb.ListRunnersRequest, context: Any) -> pb.ListRunnersResponse:
        tags = tuple(tag for part in request.tags.split(",") if (tag := part.strip()))
        filter = words.runner_filter(request.status, request.type, tags)
        offset = words.offset(request.offset)
        views, total = await self._runners.status.page(filter, limit=words.limit(request.limit), offset=offset)
        return pb.ListRunnersResponse(
            runners=map(shapes.runner, views), total_count=total, has_more=offset + len(views) < total
        )

    async def WatchRunners(
        self, request: pb.WatchRunnersRequest, context: Any
    ) -> AsyncIterator[pb.WatchRunnersResponse]:
        async for event in self._runners.registry.watch():
            if event.kind == "state" and event.old_state is not None and event.state is not None:
                old, new = words.STATUS[event.old_state], words.STATUS[event.state]
                yield shapes.status_change(event.runner_id, old, new, event.at)

    async def GetRunner(self, request: pb.GetRunnerRequest, context: Any) -> runner_pb2.Runner:
        with _shown(request.runner_id) as runner_id:
            view = await self._runners.status.view(runner_id)
            return shapes.runner(view, await self._runners.status.statistics(runner_id))

    async def UpdateRunner(self, request: pb.UpdateRunnerRequest, context: Any) -> pb.UpdateRunnerResponse:
        with _shown(request.runner_id) as runner_id:
            await self._runners.registry.update(runner_id, bodies.update(request.changes))
        return pb.UpdateRunnerResponse(success=True, message="Runner updated successfully")

    async def DeleteRunner(self, request: pb.DeleteRunnerRequest, context: Any) -> pb.DeleteRunnerResponse:
        force = words.flag("force", request.force if request.HasField("force") else None)
        with _shown(request.runner_id) as runner_id:
            await self._runners.registry.delete(runner_id, force=force, by=current_principal.get().name)
        return pb.DeleteRunnerResponse(success=True, message="Runner deleted successfully")

    async def GetRunnerStatus(self, request: pb.GetRunnerStatusRequest, context: Any) -> pb.GetRunnerStatusResponse:
        with _shown(request.runner_id) as runner_id:
            view = await self._runners.status.view(runner_id)
        found = await self._runners.status.last(view)
        return pb.GetRunnerStatusResponse(
            runner_id=request.runner_id,
            status=words.STATUS[view.runner.state],
            health=words.HEALTH[found.health],
            last_heartbeat=times.timestamp(view.last_seen_at),
            current_load=shapes.load(view),
            capabilities_status={
                name: "available" if available else "unavailable" for name, available in found.capabilities.items()
            },
        )

    async def CheckRunnerHealth(
        self, request: pb.CheckRunnerHealthRequest, context: Any
    ) -> pb.CheckRunnerHealthResponse:
        with _shown(request.runner_id) as runner_id:
            found = await self._runners.status.check(runner_id)
        return pb.CheckRunnerHealthResponse(
            runner_id=request.runner_id,
            health=words.HEALTH[found.health],
            checks=shapes.checks(found.checks),
            last_check=times.timestamp(found.at),
        )

    async def GetRunnerMetrics(self, request: pb.GetRunnerMetricsRequest, context: Any) -> pb.GetRunnerMetricsResponse:
        period, period_seconds = words.period(request.period)
        resolution, resolution_seconds = words.resolution(request.resolution)
        with _shown(request.runner_id) as runner_id:
            found = await self._runners.metrics.query(runner_id, period=period_seconds, resolution=resolution_seconds)
        return pb.GetRunnerMetricsResponse(
            runner_id=request.runner_id,
            period=period,
            resolution=resolution,
            metrics=shapes.metrics(found),
            summary=shapes.summary(found),
        )

    async def SubmitJob(self, request: pb.SubmitJobRequest, context: Any) -> pb.SubmitJobResponse:
        with _shown(request.runner_id) as runner_id:
            view = await self._runners.status.view(runner_id)
            wanted = bodies.new_job(request, runner_id, view.profile.config)
            if view.runner.state is not RunnerState.ACTIVE:
                raise RunnerUnavailable(runner_id=runner_id, problem=f"it is {words.STATUS[view.runner.state]}")
        statistics = await self._runners.status.statistics(runner_id)
        job = await self._jobs.create(wanted, by=current_principal.get().name)
        return pb.SubmitJobResponse(
            success=True,
            job_id=words.job_id(job.job_id),
            runner_id=request.runner_id,
            status="queued",
            estimated_start_time=times.timestamp(shapes.estimated_start(view, statistics)),
        )

    async def ListJobs(self, request: pb.ListJobsRequest, context: Any) -> pb.ListJobsResponse:
        filter = words.job_filter(request.status)
        limit, offset = words.limit(request.limit), words.offset(request.offset)
        with _shown(request.runner_id) as runner_id:
            await self._runners.registry.get(runner_id)
        filter = replace(filter, origin=words.ORIGIN, bound_to=runner_id)
        page = await self._jobs.list(filter, limit=limit, offset=offset)
        return pb.ListJobsResponse(runner_id=request.runner_id, jobs=map(shapes.job, page.jobs), total_count=page.total)

    async def GetRunnerConfig(self, request: pb.GetRunnerConfigRequest, context: Any) -> pb.GetRunnerConfigResponse:
        with _shown(request.runner_id) as runner_id:
            runner = await self._runners.registry.get(runner_id)
            profile = await self._runners.registry.profile(runner_id)
        return pb.GetRunnerConfigResponse(
            runner_id=request.runner_id,
            configuration=shapes.configuration(profile.config, slots=runner.slots),
            last_updated=times.timestamp(profile.config_at),
        )

    async def UpdateRunnerConfig(
        self, request: pb.UpdateRunnerConfigRequest, context: Any
    ) -> pb.UpdateRunnerConfigResponse:
        with _shown(request.runner_id) as runner_id:
            changes = bodies.object_of(request.changes)
            await self._runners.registry.update_config(runner_id, changes)
        return pb.UpdateRunnerConfigResponse(
            success=True, message="Configuration updated successfully", restart_required=False
        )

    async def StartRunner(self, request: pb.StartRunnerRequest, context: Any) -> pb.StartRunnerResponse:
        with _shown(request.runner_id) as runner_id:
            await self._runners.control.start(runner_id)
        return pb.StartRunnerResponse(success=True, message="Runner started successfully", status="starting")

    async def StopRunner(self, request: pb.StopRunnerRequest, context: Any) -> pb.StopRunnerResponse:
        said = bodies.stop_options(request.options)
        with _shown(request.runner_id) as runner_id:
            await self._runners.control.stop(
                runner_id, graceful=said.graceful, timeout=said.timeout, reason=said.reason
            )
        return pb.StopRunnerResponse(success=True, message="Runner stopped successfully", status="stopped")

    async def RestartRunner(self, request: pb.RestartRunnerRequest, context: Any) -> pb.RestartRunnerResponse:
        said = bodies.stop_options(request.options)
        with _shown(request.runner_id) as runner_id:
            await self._runners.control.restart(
                runner_id, graceful=said.graceful, timeout=said.timeout, reason=said.reason
            )
        return pb.RestartRunnerResponse(success=True, message="Runner restart initiated", status="restarting")

    async def ListLogs(self, request: pb.ListLogsRequest, context: Any) -> pb.ListLogsResponse:
        words.flag("follow", request.follow or None)
        with _shown(request.runner_id) as runner_id:
            page = await self._runners.feeds.page(runner_id, _query(request))
        return pb.ListLogsResponse(
            runner_id=request.runner_id,
            logs=map(shapes.entry, page.entries),
            total_count=page.total,
            has_more=page.has_more,
        )

    async def StreamLogs(self, request: pb.StreamLogsRequest, context: Any) -> AsyncIterator[pb.StreamLogsResponse]:
        after = words.offset(request.last_event_id) if request.last_event_id else None
        with _shown(request.runner_id) as runner_id:
            async for entry in self._runners.feeds.follow(runner_id, _query(request), after=after):
                if isinstance(entry, FeedEnd):
                    yield pb.StreamLogsResponse(end=runner_pb2.LogEnd(reason=entry.reason))
                else:
                    yield pb.StreamLogsResponse(id=entry.number, log=shapes.entry(entry))

    async def ListJobLogs(self, request: pb.ListJobLogsRequest, context: Any) -> pb.ListJobLogsResponse:
        words.flag("follow", request.follow or None)
        with _shown(request.runner_id, request.job_id) as runner_id:
            page = await self._runners.feeds.page(runner_id, _query_of_job(request))
        return pb.ListJobLogsResponse(
            runner_id=request.runner_id,
            job_id=request.job_id,
            logs=map(shapes.entry, page.entries),
            total_count=page.total,
            has_more=page.has_more,
        )

    async def StreamJobLogs(
        self, request: pb.StreamJobLogsRequest, context: Any
    ) -> AsyncIterator[pb.StreamJobLogsResponse]:
        after = words.offset(request.last_event_id) if request.last_event_id else None
        with _shown(request.runner_id, request.job_id) as runner_id:
            async for entry in self._runners.feeds.follow(runner_id, _query_of_job(request), after=after):
                if isinstance(entry, FeedEnd):
                    yield pb.StreamJobLogsResponse(end=runner_pb2.LogEnd(reason=entry.reason))
                else:
                    yield pb.StreamJobLogsResponse(id=entry.number, log=shapes.entry(entry))

    async def OperateRunners(self, request: pb.OperateRunnersRequest, context: Any) -> pb.OperateRunnersResponse:
        if request.operation not in list(Operation):
            raise InvalidArgument(field="operation", problem=f"give one of {', '.join(Operation)}")
        if not request.HasField("filters"):
            raise InvalidArgument(field="filters", problem="it is required; {} finds every runner")
        filters = request.filters
        results = await self._runners.batch.operate(
            Operation(request.operation),
            words.runner_filter(filters.status, filters.type, tuple(filters.tags)),
            bodies.bulk_options(request.operation, request.data),
            by=current_principal.get().name,
        )
        failed = sum(result.error is not None for result in results)
        return pb.OperateRunnersResponse(
            success=not failed,
            affected_runners=len(results) - failed,
            results=[shapes.result(result.runner_id, result.error) for result in results],
        )


_Logs = pb.ListLogsRequest | pb.StreamLogsRequest
_JobLogs = pb.ListJobLogsRequest | pb.StreamJobLogsRequest


def _query(request: _Logs | _JobLogs) -> FeedQuery:
    everything = FeedQuery()
    return FeedQuery(
        since=words.moment("since", request.since, everything.since),
        until=words.moment("until", request.until, everything.until),
        level=words.level(request.level),
        limit=words.limit(request.limit, default=words.LOG_LIMIT_DEFAULT, most=words.LOG_LIMIT_MOST),
    )


def _query_of_job(request: _JobLogs) -> FeedQuery:
    return replace(_query(request), job_id=words.native_job_id(request.job_id))


@contextmanager
def _shown(runner_id: str, job_id: str = "") -> Iterator[str]:
    """The native id of a runner; errors about it, and about its job, name them as the client does."""
    try:
        yield words.native_runner_id(runner_id)
    except JobNotFound as error:
        error.metadata["job_id"] = job_id
        raise
    except (RunnerNotFound, RunnerBusy, RunnerUnavailable) as error:
        raise _renamed(error, runner_id) from None


def _renamed(error: RunnerError, runner_id: str) -> RunnerError:
    error.metadata["runner_id"] = runner_id
    return error
