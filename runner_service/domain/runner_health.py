"""Health of runners: checks that a worker makes when it is asked, and what they mean together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from runner_service.domain.jobs import Micros
from runner_service.domain.runners import RunnerKind


class Health(StrEnum):
    """How a runner is."""

    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    """It can be reached, but something that it needs fails."""
    UNHEALTHY = "UNHEALTHY"
    """It cannot be reached."""


CONNECTIVITY = "connectivity"
DISK_SPACE = "disk_space"
MEMORY = "memory"
DOCKER = "docker_daemon"
KUBERNETES = "kubernetes_api"

LEAST_DISK_GB = 0.5
LEAST_MEMORY_GB = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check. A failing one says why and measures nothing."""

    passed: bool
    response_ms: float | None = None
    version: str | None = None
    available_gb: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """What a worker found when it was asked."""

    checks: Mapping[str, Check] = field(default_factory=dict)
    at: Micros = 0


def wanted_checks(kind: RunnerKind) -> tuple[str, ...]:
    """The checks that count for a runner of a kind."""
    more = {RunnerKind.DOCKER: (DOCKER,), RunnerKind.KUBERNETES: (KUBERNETES,)}.get(kind, ())
    return (CONNECTIVITY, *more, DISK_SPACE, MEMORY)


def health_of(checks: Mapping[str, Check]) -> Health:
    """What checks mean together."""
    connectivity = checks.get(CONNECTIVITY)
    if connectivity is None or not connectivity.passed:
        return Health.UNHEALTHY
    return Health.HEALTHY if all(check.passed for check in checks.values()) else Health.DEGRADED


_CAPABILITY_CHECKS = {"docker": DOCKER, "kubernetes": KUBERNETES, "k8s": KUBERNETES}


def available(capability: str, checks: Mapping[str, Check], *, reachable: bool) -> bool:
    """Tells whether a capability can be counted on: of one that a check stands for, as the check says; of any other, as
    long as somebody is there."""
    check = checks.get(_CAPABILITY_CHECKS.get(capability.lower(), ""))
    return reachable and (check is None or check.passed)
