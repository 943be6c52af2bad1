"""Bodies that RustCI leaves open in which members they have: patches and the data of bulk operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.dialects.rustci.v1 import runner_service_pb2 as pb
from runner_service.dialects.rustci import words
from runner_service.domain.containers import Container
from runner_service.domain.errors import InvalidArgument
from runner_service.domain.jobs import RUNNER_LABEL, JobKind, Limits, Step
from runner_service.domain.json_text import members_of, parse
from runner_service.domain.requests import NewJob
from runner_service.domain.runner_config import DockerConfig, RunnerConfig, cpu_millis, quantity_bytes
from runner_service.domain.runners import Resources
from runner_service.services.runners import NewRunner, RunnerUpdate
from runner_service.services.runners.batch import Options

_FIXED = ("id", "type", "status")
_RESOURCES = ("cpu_cores", "memory_gb", "disk_gb")


def new_runner(request: pb.RegisterRunnerRequest) -> NewRunner:
    """Raises `InvalidArgument`."""
    for name in ("name", "type", "host"):
        if not getattr(request, name):
            raise InvalidArgument(field=name, problem="it is required")
    if not request.HasField("port"):
        raise InvalidArgument(field="port", problem="it is required")
    return NewRunner(
        name=request.name,
        kind=words.kind(request.type),
        hosted=True,
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


def object_of(text: str) -> Mapping[str, Any]:
    """Raises `InvalidArgument` for what is no JSON object."""
    value = parse(text or "{}")
    if not isinstance(value, dict):
        raise InvalidArgument(field="body", problem="give a JSON object")
    return value


def update(text: str) -> RunnerUpdate:
    """A patch of a runner. Raises `InvalidArgument`."""
    value = object_of(text)
    for name in _FIXED:
        if name in value:
            raise InvalidArgument(field=name, problem="it cannot be changed")
    found: dict[str, Any] = {}
    for name in ("name", "host"):
        if name in value:
            found[name] = _typed(name, value[name], str, "a string")
    if "name" in found and not found["name"]:
        raise InvalidArgument(field="name", problem="it is empty")
    if "port" in value:
        found["port"] = _typed("port", value["port"], int, "a whole number")
    for name in ("capabilities", "tags"):
        if name in value:
            items = _typed(name, value[name], list, "a list of strings")
            found[name] = tuple(_typed(name, item, str, "a list of strings") for item in items)
    if "metadata" in value:
        _typed("metadata", value["metadata"], dict, "an object")
        found["metadata"] = members_of(text)["metadata"]
    if "resources" in value:
        resources = _typed("resources", value["resources"], dict, "an object")
        known = {name: resources[name] for name in _RESOURCES if name in resources}
        found["resources"] = {
            name: _typed(f"resources.{name}", number, (int, float), "a number") for name, number in known.items()
        }
    return RunnerUpdate(**found)


def _typed(field: str, value: Any, kind: Any, said: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InvalidArgument(field=field, problem=f"give {said}")
    return value


def stop_options(text: str, where: str = "") -> Options:
    """Without a body at once, with one gracefully unless it says otherwise. Raises `InvalidArgument`."""
    value = parse(text) if text else None
    if value is None:
        return Options()
    _typed(where or "body", value, dict, "an object")
    prefix = f"{where}." if where else ""
    timeout = _typed(f"{prefix}timeout", value.get("timeout", words.GRACEFUL_SECONDS), int, "a whole number")
    if timeout < 0:
        raise InvalidArgument(field=f"{prefix}timeout", problem="give a number of 0 or more")
    return Options(
        graceful=_typed(f"{prefix}graceful", value.get("graceful", True), bool, "true or false"),
        timeout=float(timeout),
        reason=_typed(f"{prefix}reason", value.get("reason", ""), str, "a string"),
    )


def bulk_options(operation: str, text: str) -> Options:
    """What the data of a bulk operation say, as the body of the operation on one runner would. Raises
    `InvalidArgument`."""
    if operation == "update_config":
        if not text:
            raise InvalidArgument(field="data", problem="it is required for update_config")
        value = parse(text)
        return Options(changes=_typed("data", value, dict, "an object"))
    if operation == "delete":
        value = _typed("data", parse(text or "{}"), dict, "an object")
        return Options(force=_typed("data.force", value.get("force", False), bool, "true or false"))
    return stop_options(text, "data")


def new_job(request: pb.SubmitJobRequest, runner_id: str, config: RunnerConfig) -> NewJob:
    """A job for this runner; what the request leaves open is as the runner's configuration says. Raises
    `InvalidArgument`."""
    if not request.name:
        raise InvalidArgument(field="name", problem="it is required")
    if not request.steps:
        raise InvalidArgument(field="steps", problem="give at least one")
    for place, step in enumerate(request.steps):
        for name in ("name", "run"):
            if not getattr(step, name):
                raise InvalidArgument(field=f"steps[{place}].{name}", problem="it is required")
    if request.HasField("timeout") and request.timeout <= 0:
        raise InvalidArgument(field="timeout", problem="give a number of seconds above 0")
    if request.retry_count < 0:
        raise InvalidArgument(field="retry_count", problem="give a number of 0 or more")
    limits = config.resource_limits
    return NewJob(
        kind=JobKind.JOB,
        origin=words.ORIGIN,
        steps=tuple(Step(name=step.name, script=step.run) for step in request.steps),
        environment=dict(request.environment),
        timeout_seconds=float(request.timeout if request.HasField("timeout") else config.job_timeout) or None,
        max_attempts=min(1 + request.retry_count, 100),
        limits=Limits(
            cpus=cpu_millis(limits.cpu_limit) / 1000 if limits.cpu_limit else 0.0,
            memory_bytes=quantity_bytes(limits.memory_limit) if limits.memory_limit else 0,
            disk_bytes=quantity_bytes(limits.disk_limit) if limits.disk_limit else 0,
        ),
        container=_container(request.image, config.docker_config),
        cleanup=config.cleanup_policy,
        required_labels={RUNNER_LABEL: runner_id},
        annotations={"name": request.name},
    )


def _container(image: str, config: DockerConfig | None) -> Container | None:
    """None: the job's processes are the machine's own."""
    config = config or DockerConfig(network_mode="")
    if not (image or config.image):
        return None
    return Container(
        image=image or config.image,
        network=config.network_mode,
        volumes=config.volumes,
        privileged=config.privileged,
    )
