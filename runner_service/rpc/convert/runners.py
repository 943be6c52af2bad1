"""Runners, and what is known, wanted and told of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from runner.v1 import runner_pb2 as pb
from runner.v1 import runner_service_pb2 as service_pb
from runner_service.domain.errors import InvalidArgument
from runner_service.domain.metrics import Metrics
from runner_service.domain.runner_config import DockerConfig, RunnerConfig
from runner_service.domain.runner_feed import FeedEntry, FeedLevel
from runner_service.domain.runner_health import Check, Health
from runner_service.domain.runners import Resources, RunnerEvent, RunnerKind, RunnerState
from runner_service.ports.store import RunnerFilter, Statistics
from runner_service.rpc.convert import times
from runner_service.services.runners import FeedQuery, NewRunner, RunnerUpdate, RunnerView
from runner_service.services.runners.status import Found

STATES = {state: pb.Runner.State.Value(f"STATE_{state.name}") for state in RunnerState}
_STATES_BACK = {number: state for state, number in STATES.items()}
_KINDS = {kind: pb.Runner.Kind.Value(f"KIND_{kind.name}") for kind in RunnerKind}
_KINDS_BACK = {number: kind for kind, number in _KINDS.items()}
_LEVELS = {level: pb.RunnerLogEntry.Level.Value(f"LEVEL_{level.name}") for level in FeedLevel}
_LEVELS_BACK = {number: level for level, number in _LEVELS.items()}
_HEALTHS = {health: pb.RunnerHealth.Status.Value(f"STATUS_{health.name}") for health in Health}
_PROFILE = ("name", "host", "port", "capabilities", "tags", "metadata", "resources")


def runner(view: RunnerView, statistics: Statistics | None = None) -> pb.Runner:
    value, profile = view.runner, view.profile
    return pb.Runner(
        runner_id=value.runner_id,
        name=value.name,
        state=STATES[value.state],
        labels=value.labels,
        slots=value.most_jobs or value.slots,
        online=view.reachable,
        local=value.local,
        version=value.version,
        register_time=times.timestamp(value.registered_at),
        last_seen_time=times.timestamp(value.last_seen_at) if value.last_seen_at else None,
        kind=_KINDS[value.kind],
        hosted=value.hosted,
        host=profile.host,
        port=profile.port,
        capabilities=profile.capabilities,
        tags=profile.tags,
        metadata=profile.metadata,
        resources=pb.RunnerResources(
            cpu_cores=profile.resources.cpu_cores,
            memory_gb=profile.resources.memory_gb,
            disk_gb=profile.resources.disk_gb,
        ),
        load=_load(view),
        active_jobs=view.tally.active,
        queued_jobs=view.tally.queued,
        statistics=None if statistics is None else _statistics(view, statistics),
    )


def _load(view: RunnerView) -> pb.RunnerLoad | None:
    load = view.load
    if not load.at:
        return None
    return pb.RunnerLoad(
        cpu_percent=load.cpu,
        memory_percent=load.memory,
        disk_percent=load.disk,
        measure_time=times.timestamp(load.at),
    )


def _statistics(view: RunnerView, value: Statistics) -> pb.RunnerStatistics:
    return pb.RunnerStatistics(
        executed_jobs=value.executed,
        succeeded_jobs=value.succeeded,
        failed_jobs=value.failed,
        average_time=times.duration(value.seconds / value.executed) if value.executed else None,
        uptime_percent=round(view.uptime_percentage, 2),
    )


def new_runner(request: service_pb.RegisterRunnerRequest, *, local: bool) -> NewRunner:
    return NewRunner(
        name=request.name,
        labels=dict(request.labels),
        slots=request.slots or int(request.hosted),
        local=local and not request.hosted,
        kind=_KINDS_BACK.get(request.kind, RunnerKind.NATIVE),
        hosted=request.hosted,
        host=request.host,
        port=request.port,
        capabilities=tuple(request.capabilities),
        tags=tuple(request.tags),
        metadata=request.metadata or "{}",
        resources=Resources(
            cpu_cores=request.resources.cpu_cores,
            memory_gb=request.resources.memory_gb,
            disk_gb=request.resources.disk_gb,
        ),
    )


def filter_of(state: pb.Runner.State.ValueType, kind: pb.Runner.Kind.ValueType, tags: Iterable[str]) -> RunnerFilter:
    return RunnerFilter(state=_STATES_BACK.get(state), kind=_KINDS_BACK.get(kind), tags=tuple(tags))


def update(request: service_pb.UpdateRunnerRequest) -> RunnerUpdate:
    """What the mask names. Raises `InvalidArgument` for what cannot be changed."""
    values: dict[str, Any] = {}
    resources: dict[str, float] = {}
    for path in request.update_mask.paths:
        name, _, member = path.partition(".")
        if name == "runner_id":
            continue
        if name not in _PROFILE:
            raise InvalidArgument(field=f"update_mask.{path}", problem=f"give any of {', '.join(_PROFILE)}")
        if name == "resources":
            members = (member,) if member else ("cpu_cores", "memory_gb", "disk_gb")
            for each in members:
                resources[each] = getattr(request.runner.resources, each)
        else:
            value = getattr(request.runner, name)
            values[name] = tuple(value) if name in ("capabilities", "tags") else value
    return RunnerUpdate(**values, resources=resources or None)


def config(value: RunnerConfig, *, slots: int = 0) -> pb.RunnerConfig:
    return pb.RunnerConfig(
        max_concurrent_jobs=value.max_concurrent_jobs or slots,
        job_timeout=times.duration(value.job_timeout) if value.job_timeout else None,
        cleanup_policy=value.cleanup_policy,
        limits=pb.RunnerLimits(
            cpu_limit=value.resource_limits.cpu_limit,
            memory_limit=value.resource_limits.memory_limit,
            disk_limit=value.resource_limits.disk_limit,
        ),
        docker=_docker(value.docker_config),
    )


def _docker(value: DockerConfig | None) -> pb.DockerConfig | None:
    if value is None:
        return None
    return pb.DockerConfig(
        privileged=value.privileged, network_mode=value.network_mode, volumes=value.volumes, image=value.image
    )


_CONFIG = {"limits": "resource_limits", "docker": "docker_config"}


def config_changes(value: pb.RunnerConfig, paths: Iterable[str]) -> Mapping[str, Any]:
    """What the mask names, as `domain.runner_config.merged` takes it."""
    changes: dict[str, Any] = {}
    for path in paths:
        name, _, member = path.partition(".")
        if name == "job_timeout":
            changes[name] = int(times.check_not_negative(name, value.job_timeout))
        elif name in _CONFIG:
            part = getattr(value, name)
            names = (member,) if member else [field.name for field in part.DESCRIPTOR.fields]
            found = {each: _plain(getattr(part, each, None)) for each in names}
            changes.setdefault(_CONFIG[name], {}).update(found)
        else:
            changes[name] = _plain(getattr(value, name, None))
    return changes


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | str | None) else list(value)


def health(value: Found) -> pb.RunnerHealth:
    return pb.RunnerHealth(
        status=_HEALTHS[value.health],
        checks={name: _check(check) for name, check in value.checks.items()},
        check_time=times.timestamp(value.at),
    )


def _check(value: Check) -> pb.HealthCheck:
    return pb.HealthCheck(
        passed=value.passed,
        response_time=None if value.response_ms is None else times.duration(value.response_ms / 1000),
        version=value.version or "",
        available_gb=value.available_gb or 0.0,
        message=value.message,
    )


def metrics(value: Metrics) -> pb.RunnerMetrics:
    found = pb.RunnerMetrics(
        cpu_average=value.cpu_average,
        cpu_max=value.cpu_most,
        memory_average=value.memory_average,
        memory_max=value.memory_most,
        executed_jobs=value.jobs_executed,
    )
    for points, series in (
        (found.cpu, value.cpu),
        (found.memory, value.memory),
        (found.disk, value.disk),
        (found.active_jobs, value.active),
    ):
        # Made in place: of thousands of points, messages that are copied take most of the time.
        for at, measured in series:
            points.add(value=measured).time.seconds = at // 1_000_000
    return found


def event(value: RunnerEvent) -> pb.RunnerEvent:
    return pb.RunnerEvent(
        sequence=value.sequence,
        runner_id=value.runner_id,
        time=times.timestamp(value.at),
        kind=value.kind,
        old_state=STATES[value.old_state] if value.old_state is not None else pb.Runner.STATE_UNSPECIFIED,
        state=STATES[value.state] if value.state is not None else pb.Runner.STATE_UNSPECIFIED,
        detail=value.detail,
    )


def query(request: service_pb.ListRunnerLogsRequest | service_pb.StreamRunnerLogsRequest, *, limit: int) -> FeedQuery:
    asked = FeedQuery()
    return FeedQuery(
        since=times.micros(request.since) if request.HasField("since") else asked.since,
        until=times.micros(request.until) if request.HasField("until") else asked.until,
        level=_LEVELS_BACK.get(request.level),
        limit=limit,
    )


def entry(value: FeedEntry) -> pb.RunnerLogEntry:
    return pb.RunnerLogEntry(
        number=value.number,
        time=times.timestamp(value.at),
        level=_LEVELS[value.level],
        message=message(value, value.job_id),
        job_id=value.job_id,
        step=value.step,
    )


def message(value: FeedEntry, job: str) -> str:
    """An entry as one line; ``job`` is the job's id as the API writes it."""
    if not value.phrase:
        return value.text
    subject = value.text or job
    return f"{value.phrase}: {subject}" if subject else value.phrase
