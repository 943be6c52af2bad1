"""Our facts as RustCI shows them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from runner.dialects.rustci.v1 import runner_pb2
from runner.dialects.rustci.v1 import runner_service_pb2 as pb
from runner_service.dialects.rustci import words
from runner_service.domain.errors import RunnerError, RunnerNotFound, RunnerUnavailable
from runner_service.domain.jobs import Job, Micros
from runner_service.domain.json_text import members_of, object_of, text_of
from runner_service.domain.metrics import Metrics
from runner_service.domain.runner_config import RunnerConfig
from runner_service.domain.runner_feed import FeedEntry
from runner_service.domain.runner_health import Check
from runner_service.domain.runners import Resources
from runner_service.ports.store import Statistics
from runner_service.rpc.convert import times
from runner_service.rpc.convert.runners import message
from runner_service.services.runners import RunnerView


def runner(view: RunnerView, statistics: Statistics | None = None) -> runner_pb2.Runner:
    value, profile = view.runner, view.profile
    metadata = members_of(profile.metadata) | {
        "registered_at": text_of(words.time_text(value.registered_at)),
        "last_seen": text_of(words.time_text(view.last_seen_at)),
    }
    return runner_pb2.Runner(
        id=words.runner_id(value.runner_id),
        name=value.name,
        type=words.TYPES[value.kind],
        status=words.STATUS[value.state],
        host=profile.host,
        port=profile.port,
        capabilities=profile.capabilities,
        metadata=object_of(metadata),
        tags=profile.tags,
        resources=_resources(profile.resources),
        current_load=load(view),
        statistics=None if statistics is None else _statistics(view, statistics),
    )


def _resources(value: Resources) -> str:
    return text_of({name: _number(getattr(value, name)) for name in ("cpu_cores", "memory_gb", "disk_gb")})


def _number(value: float) -> float:
    return int(value) if value == int(value) else value


def load(view: RunnerView) -> runner_pb2.Load:
    return runner_pb2.Load(
        active_jobs=view.tally.active,
        queued_jobs=view.tally.queued,
        cpu_usage=view.load.cpu,
        memory_usage=view.load.memory,
        disk_usage=view.load.disk,
    )


def _statistics(view: RunnerView, value: Statistics) -> runner_pb2.Statistics:
    return runner_pb2.Statistics(
        total_jobs_executed=value.executed,
        successful_jobs=value.succeeded,
        failed_jobs=value.failed,
        average_execution_time=round(value.seconds / value.executed, 3) if value.executed else 0.0,
        uptime_percentage=round(view.uptime_percentage, 2),
    )


def job(value: Job) -> runner_pb2.Job:
    ended = words.ended_at(value)
    known = ended is not None and value.started_at is not None
    return runner_pb2.Job(
        job_id=words.job_id(value.job_id),
        name=value.annotations.get("name", ""),
        status=words.job_status(value),
        created_at=times.timestamp(value.created_at),
        started_at=times.timestamp(value.started_at),
        completed_at=times.timestamp(ended),
        duration=max(0, (ended or 0) - (value.started_at or 0)) // 1_000_000 if known else None,
        exit_code=words.exit_code(value),
    )


def estimated_start(view: RunnerView, statistics: Statistics) -> Micros:
    """When a job that is submitted now will start: at once when there is room, else after those before it, at the pace
    of those that have ended."""
    slots = max(1, view.runner.most_jobs or view.runner.slots)
    position = view.tally.queued + 1
    if view.tally.active + position <= slots:
        return view.now
    average = statistics.seconds / statistics.executed if statistics.executed else words.AVERAGE_SECONDS
    return view.now + round(math.ceil(position / slots) * average * 1e6)


def configuration(value: RunnerConfig, *, slots: int) -> runner_pb2.Configuration:
    limits, docker = value.resource_limits, value.docker_config
    return runner_pb2.Configuration(
        max_concurrent_jobs=value.max_concurrent_jobs or slots,
        job_timeout=value.job_timeout,
        cleanup_policy=value.cleanup_policy,
        resource_limits=runner_pb2.ResourceLimits(
            cpu_limit=limits.cpu_limit, memory_limit=limits.memory_limit, disk_limit=limits.disk_limit
        ),
        docker_config=(
            None
            if docker is None
            else runner_pb2.DockerConfig(
                privileged=docker.privileged,
                network_mode=docker.network_mode,
                volumes=docker.volumes,
                image=docker.image or None,
            )
        ),
    )


def checks(values: Mapping[str, Check]) -> Mapping[str, runner_pb2.HealthCheck]:
    return {name: _check(value) for name, value in values.items()}


def _check(value: Check) -> runner_pb2.HealthCheck:
    if not value.passed:
        return runner_pb2.HealthCheck(status="fail", message=value.message)
    return runner_pb2.HealthCheck(
        status="pass", response_time_ms=value.response_ms, version=value.version, available_gb=value.available_gb
    )


def metrics(value: Metrics) -> runner_pb2.Metrics:
    found = runner_pb2.Metrics()
    for points, series in (
        (found.cpu_usage, value.cpu),
        (found.memory_usage, value.memory),
        (found.active_jobs, value.active),
    ):
        # Made in place: of thousands of points, messages that are copied take most of the time.
        for at, measured in series:
            points.add(value=measured).timestamp.seconds = at // 1_000_000
    return found


def summary(value: Metrics) -> runner_pb2.MetricsSummary:
    return runner_pb2.MetricsSummary(
        avg_cpu_usage=value.cpu_average,
        max_cpu_usage=value.cpu_most,
        avg_memory_usage=value.memory_average,
        max_memory_usage=value.memory_most,
        total_jobs_executed=value.jobs_executed,
    )


def entry(value: FeedEntry) -> runner_pb2.LogEntry:
    job_id = words.job_id(value.job_id) if value.job_id else ""
    return runner_pb2.LogEntry(
        timestamp=times.timestamp(value.at),
        level=words.LEVELS[value.level],
        message=message(value, job_id),
        context=runner_pb2.LogEntry.Context(job_id=job_id or None, step=value.step or None),
    )


def result(runner_id: str, error: RunnerError | None) -> runner_pb2.OperationResult:
    shown = words.runner_id(runner_id)
    if error is None:
        return runner_pb2.OperationResult(runner_id=shown, success=True)
    code = "INVALID_REQUEST"
    if isinstance(error, RunnerNotFound | RunnerUnavailable):
        code = "RUNNER_NOT_FOUND" if isinstance(error, RunnerNotFound) else "RUNNER_UNAVAILABLE"
    return runner_pb2.OperationResult(
        runner_id=shown,
        error=runner_pb2.OperationResult.Error(code=code, message=error.message.replace(runner_id, shown)),
    )


def status_change(runner_id: str, old: str, new: str, at: Micros) -> pb.WatchRunnersResponse:
    return pb.WatchRunnersResponse(
        type="runner_status_change",
        runner_id=words.runner_id(runner_id),
        old_status=old,
        new_status=new,
        timestamp=times.timestamp(at),
    )
