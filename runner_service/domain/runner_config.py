"""What can be set of one runner while it runs, and how a change is laid over what is set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from runner_service.domain.containers import check_volume
from runner_service.domain.errors import InvalidArgument
from runner_service.domain.jobs import CleanupPolicy

MOST_JOBS = 10_000
MOST_TIMEOUT_SECONDS = 366 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceLimits:
    """What one job may use, in the quantities of Kubernetes: ``2000m``, ``4Gi``. Empty: no limit."""

    cpu_limit: str = ""
    memory_limit: str = ""
    disk_limit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerConfig:
    """How the containers of jobs that are submitted to a runner are started."""

    privileged: bool = False
    network_mode: str = "bridge"
    volumes: tuple[str, ...] = ()
    image: str = ""
    """For jobs that name none; empty: those are processes of the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerConfig:
    """The configuration of one runner."""

    max_concurrent_jobs: int = 0
    """0: as many as its worker wants."""
    job_timeout: int = 0
    """Seconds, for jobs submitted to this runner that say nothing. 0: the service's default."""
    cleanup_policy: CleanupPolicy = CleanupPolicy.ALWAYS
    resource_limits: ResourceLimits = field(default_factory=ResourceLimits)
    docker_config: DockerConfig | None = None
    """None for runners that are not of docker."""


def merged(config: RunnerConfig, changes: Mapping[str, Any]) -> RunnerConfig:
    """``config`` with ``changes``, members as JSON has them, laid over it: absent ones keep their value, objects are
    merged, lists replaced.

    Raises:
        InvalidArgument: Names the member that is not known, or whose value is none for it.
    """
    after: RunnerConfig = _merge(config, changes, "")
    return after


def cpu_millis(quantity: str) -> int:
    """Thousandths of a processor. Raises ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(m?)", quantity)
    if match is None:
        raise ValueError(quantity)
    return round(float(match[1]) * (1 if match[2] else 1000))


_BINARY = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
_DECIMAL = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def quantity_bytes(quantity: str) -> int:
    """Bytes. Raises ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]i|[kMGT]|)", quantity)
    if match is None:
        raise ValueError(quantity)
    return round(float(match[1]) * (_BINARY | _DECIMAL)[match[2]])


_NESTED: Mapping[str, Any] = {"resource_limits": ResourceLimits(), "docker_config": DockerConfig()}


def _merge(before: Any, changes: Mapping[str, Any], path: str) -> Any:
    known = {each.name for each in fields(before)}
    values: dict[str, Any] = {}
    for name, value in changes.items():
        where = f"{path}{name}"
        if name not in known:
            raise InvalidArgument(field=where, problem="there is no such member")
        if name in _NESTED:
            if not isinstance(value, Mapping):
                raise InvalidArgument(field=where, problem="give an object")
            values[name] = _merge(getattr(before, name) or _NESTED[name], value, f"{where}.")
        else:
            values[name] = _CHECKS[name](value, where)
    return replace(before, **values)


def _whole(most: int) -> Any:
    def check(value: Any, where: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise InvalidArgument(field=where, problem=f"give a whole number from 1 to {most}")
        return value

    return check


def _policy(value: Any, where: str) -> CleanupPolicy:
    try:
        return CleanupPolicy(value)
    except ValueError:
        raise InvalidArgument(field=where, problem=f"give one of {', '.join(CleanupPolicy)}") from None


def _quantity(read: Any, example: str) -> Any:
    def check(value: Any, where: str) -> str:
        try:
            if value:
                read(value)
        except (ValueError, TypeError):
            raise InvalidArgument(field=where, problem=f"give a quantity such as {example}") from None
        if not isinstance(value, str):
            raise InvalidArgument(field=where, problem=f"give a quantity such as {example}")
        return value

    return check


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidArgument(field=where, problem="give true or false")
    return value


def _word(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value or any(not "!" <= letter <= "~" for letter in value):
        raise InvalidArgument(field=where, problem="give a word")
    return value


def _volumes(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise InvalidArgument(field=where, problem="give a list of strings")
    return tuple(check_volume(each, field=where) for each in value)


def _image(value: Any, where: str) -> str:
    if not isinstance(value, str) or any(not "!" <= letter <= "~" for letter in value):
        raise InvalidArgument(field=where, problem="give the name of an image, or nothing")
    return value


_CHECKS: Mapping[str, Any] = {
    "max_concurrent_jobs": _whole(MOST_JOBS),
    "job_timeout": _whole(MOST_TIMEOUT_SECONDS),
    "cleanup_policy": _policy,
    "cpu_limit": _quantity(cpu_millis, "2000m"),
    "memory_limit": _quantity(quantity_bytes, "4Gi"),
    "disk_limit": _quantity(quantity_bytes, "10Gi"),
    "privileged": _flag,
    "network_mode": _word,
    "volumes": _volumes,
    "image": _image,
}
