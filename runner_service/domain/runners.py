"""Runners: registered machines, what they are told, and the moves their state may make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from runner_service.domain.jobs import IllegalMove, Micros
from runner_service.domain.runner_config import RunnerConfig


class RunnerState(StrEnum):
    """What a runner is doing as a whole."""

    ACTIVE = "ACTIVE"
    STARTING = "STARTING"
    STOPPING = "STOPPING"
    RESTARTING = "RESTARTING"
    INACTIVE = "INACTIVE"
    ERROR = "ERROR"


RUNNER_MOVES: Mapping[RunnerState, frozenset[RunnerState]] = {
    RunnerState.ACTIVE: frozenset(
        {RunnerState.STOPPING, RunnerState.INACTIVE, RunnerState.RESTARTING, RunnerState.ERROR}
    ),
    RunnerState.STARTING: frozenset(
        {
            RunnerState.ACTIVE,
            RunnerState.STOPPING,
            RunnerState.INACTIVE,
            RunnerState.RESTARTING,
            RunnerState.ERROR,
        }
    ),
    RunnerState.STOPPING: frozenset(
        {RunnerState.INACTIVE, RunnerState.STARTING, RunnerState.RESTARTING, RunnerState.ERROR}
    ),
    # Through STARTING when it was asked to start while its jobs were still being ended.
    RunnerState.RESTARTING: frozenset(
        {
            RunnerState.ACTIVE,
            RunnerState.STARTING,
            RunnerState.STOPPING,
            RunnerState.INACTIVE,
            RunnerState.ERROR,
        }
    ),
    RunnerState.INACTIVE: frozenset({RunnerState.STARTING, RunnerState.ERROR}),
    # Heard of again, it is what it was told to be.
    RunnerState.ERROR: frozenset(
        {
            RunnerState.ACTIVE,
            RunnerState.INACTIVE,
            RunnerState.STARTING,
            RunnerState.STOPPING,
            RunnerState.RESTARTING,
        }
    ),
}
"""The one table of legal moves."""

UP = frozenset({RunnerState.ACTIVE, RunnerState.STOPPING})
"""States in which a runner does its work: what counts as uptime."""
MOVING = frozenset({RunnerState.STARTING, RunnerState.STOPPING, RunnerState.RESTARTING})
"""States that end by themselves."""


class RunnerKind(StrEnum):
    """What a runner runs jobs in."""

    NATIVE = "NATIVE"
    """Processes of the machine."""
    LOCAL = "LOCAL"
    """Processes of the machine that the service itself runs on."""
    DOCKER = "DOCKER"
    KUBERNETES = "KUBERNETES"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a machine has, as it was declared or measured; 0 where nobody knows."""

    cpu_cores: float = 0
    memory_gb: float = 0
    disk_gb: float = 0


NOTHING_KNOWN = Resources()


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How busy a machine is, measured by its worker; percent."""

    cpu: float
    memory: float
    disk: float
    at: Micros = 0
    """When the server got it. 0: never."""


NO_LOAD = Load(cpu=0.0, memory=0.0, disk=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a runner was told last, as the server keeps it until it is done."""

    paused: bool = False
    """Take no work."""
    cancel_at: Micros = 0
    """While STOPPING or RESTARTING: jobs that still run then are cancelled. 0: they are waited for without end."""
    settle_by: Micros = 0
    """While STARTING or RESTARTING: a worker that has not come by then makes it an ERROR. 0: no bound."""
    old_session: str = ""
    """While RESTARTING: the worker that has to go; whoever syncs in its place has restarted."""
    check: int = 0
    """Number of the newest health check that was asked for."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A registered machine, as dispatch knows it: small, because every Sync writes it."""

    runner_id: str
    name: str
    state: RunnerState
    registered_at: Micros
    labels: Mapping[str, str] = field(default_factory=dict)
    """What jobs may require; ``os``, ``arch`` and ``hostname`` are set by the worker."""
    slots: int = 1
    """Jobs its worker wants to run at one time; 0 when it drains."""
    local: bool = False
    """The runner that the server itself started."""
    version: str = ""
    boot_id: str = ""
    """Of the machine's kernel: a change means that nothing of before is running."""
    spool_id: str = ""
    """Of the machine's memory of attempts (see `Beat`); empty when it has none, or changed it within a session."""
    session_id: str = ""
    """Of the worker process that holds the identity now."""
    last_seen_at: Micros = 0
    lease_until: Micros = 0
    """Until when the server counts on the runner's attempts to be alive."""
    kind: RunnerKind = RunnerKind.NATIVE
    hosted: bool = False
    """Registered without a worker: its jobs are executed by a local runner. A worker that shows its credential makes
    it a runner like any other."""
    state_since: Micros = 0
    up_us: int = 0
    """How long it was UP before ``state_since``."""
    told: Told = Told()
    most_jobs: int = 0
    """Of its configuration: jobs at one time. 0: as many as its worker wants."""
    load: Load = NO_LOAD

    @property
    def capacity(self) -> int:
        """Jobs that it runs at one time: as its configuration says, or as its worker wants; 0 while that drains."""
        return (self.most_jobs or self.slots) if self.slots or self.hosted else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerProfile:
    """What was said about a runner and is seldom changed."""

    runner_id: str
    host: str = ""
    port: int = 0
    capabilities: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    metadata: str = "{}"
    """A JSON object, as it was sent."""
    resources: Resources = NOTHING_KNOWN
    config: RunnerConfig = field(default_factory=RunnerConfig)
    config_at: Micros = 0
    """When the configuration was changed last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerEvent:
    """Something that happened to a runner, in commit order over all runners."""

    sequence: int
    runner_id: str
    at: Micros
    kind: str
    """``registered``, ``state``, ``updated``, ``config``, ``told``, ``deleted``."""
    old_state: RunnerState | None = None
    """For ``state``."""
    state: RunnerState | None = None
    """After the event; None for ``deleted``."""
    detail: str = ""


def runner_transition(runner: Runner, to: RunnerState, *, at: Micros, told: Told | None = None) -> Runner:
    """Moves ``runner`` to the state ``to``; the only door through which its state changes.

    Keeps the account of its uptime. Time after it was last heard of does not count when it ends in ERROR.

    Raises:
        IllegalMove: The table has no such move: a fault in the caller.
    """
    if to not in RUNNER_MOVES[runner.state]:
        raise IllegalMove(state=runner.state, to=to)
    up_us = runner.up_us
    if runner.state in UP:
        until = min(at, runner.last_seen_at) if to is RunnerState.ERROR and runner.last_seen_at else at
        up_us += max(0, until - runner.state_since)
    return replace(runner, state=to, state_since=at, up_us=up_us, told=runner.told if told is None else told)


def uptime_percentage(runner: Runner, now: Micros) -> float:
    """The part of the time since its registration in which the runner did its work."""
    up = runner.up_us + (max(0, now - runner.state_since) if runner.state in UP else 0)
    whole = now - runner.registered_at
    return 100.0 if whole <= 0 else min(100.0, 100.0 * up / whole)


def settled(runner: Runner, *, active: int, paused: bool, session_id: str, now: Micros) -> RunnerState | None:
    """What a runner on its way to another state is now; None: still on its way, or on none.

    Args:
        active: Attempts of its jobs that have not ended.
        paused: What its worker last said that it was told; for a hosted one without meaning.
        session_id: Of its worker now.
    """
    if runner.state is RunnerState.STARTING:
        if runner.hosted or (session_id and not paused):
            return RunnerState.ACTIVE
    elif runner.state is RunnerState.STOPPING:
        if not active and (runner.hosted or paused or runner.lease_until <= now):
            return RunnerState.INACTIVE
    elif runner.state is RunnerState.RESTARTING:
        if not active and (runner.hosted or (session_id != runner.told.old_session and not paused)):
            return RunnerState.ACTIVE
    elif runner.state is RunnerState.ERROR and session_id and runner.lease_until > now:
        return RunnerState.INACTIVE if runner.told.paused else RunnerState.ACTIVE
    return None


def satisfies(labels: Mapping[str, str], required: Mapping[str, str]) -> bool:
    """Tells whether a runner with ``labels`` may take a job that requires ``required``.

    A required name that begins with ``!`` is a label that the runner must not have, whatever its value.
    """
    return all(_meets(labels, name, value) for name, value in required.items())


def _meets(labels: Mapping[str, str], name: str, value: str) -> bool:
    return name[1:] not in labels if name.startswith("!") else labels.get(name) == value


def explain_missing(labels: Mapping[str, str], required: Mapping[str, str]) -> list[str]:
    """The requirements that ``labels`` do not meet, as ``name=value`` in order of name."""
    return [
        name if name.startswith("!") else f"{name}={value}"
        for name, value in sorted(required.items())
        if not _meets(labels, name, value)
    ]
