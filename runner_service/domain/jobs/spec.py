"""What was asked for: all that a runner needs to know to execute a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from runner_service.domain.containers import Container
from runner_service.domain.outcomes import Outcome, OutcomeKind


class LossPolicy(StrEnum):
    """What becomes of a running job whose runner stays away."""

    WAIT = "WAIT"
    """Wait for the runner for ``loss_wait_seconds`` after its lease, then end the job LOST."""
    RETRY = "RETRY"
    """Queue the job again once the old execution must be dead. Only for jobs declared idempotent."""
    FAIL = "FAIL"
    """End the job LOST once the old execution must be dead."""


class Stdin(StrEnum):
    """What the processes of a job have as standard input."""

    NULL = "NULL"
    """Nothing: reading ends at once."""
    PIPE = "PIPE"
    """A pipe that carries the job's input."""
    PTY = "PTY"
    """A terminal that carries the job's input, and takes both outputs as one stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One process of a job: an argument vector without a shell, or a script for ``/bin/sh -c``."""

    name: str = ""
    argv: tuple[str, ...] = ()
    script: str = ""
    """Used when ``argv`` is empty."""
    always: bool = False
    """Runs too when a step before it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the processes of one attempt may use together; 0: no limit but the runner's own."""

    cpus: float = 0.0
    """Processors."""
    memory_bytes: int = 0
    processes: int = 0
    """Processes and threads at one time."""
    disk_bytes: int = 0
    """In the directory of the attempt's own, and in a container in all its file system."""


NO_LIMITS = Limits()


class CleanupPolicy(StrEnum):
    """When the directory of an attempt's own is removed after it. One that is kept moves to ``DATA/worker/kept``."""

    ALWAYS = "always"
    ON_SUCCESS = "on_success"
    ON_FAILURE = "on_failure"
    NEVER = "never"


class SpoolPolicy(StrEnum):
    """What becomes of a job that writes while the spool of its runner is full."""

    BLOCK = "BLOCK"
    """It waits, as on any slow reader."""
    DROP_MIDDLE = "DROP_MIDDLE"
    """It goes on; the middle of its output is dropped and a gap recorded."""
    FAIL = "FAIL"
    """It is ended: INFRASTRUCTURE, detail ``spool_full``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRule:
    """Matches outcomes; every condition that is set must hold."""

    kind: OutcomeKind
    exit_codes: tuple[int, ...] = ()
    """For EXITED; empty: every one but 0."""
    signals: tuple[int, ...] = ()
    """For SIGNALED; empty: every one."""
    details: tuple[str, ...] = ()
    """Of ``Outcome.detail``; empty: every one."""

    def matches(self, outcome: Outcome) -> bool:
        return (
            outcome.kind is self.kind
            and (not self.exit_codes or outcome.exit_code in self.exit_codes)
            and (not self.signals or outcome.signal in self.signals)
            and (not self.details or outcome.detail in self.details)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInput:
    """A file that a job gets."""

    artifact_id: str
    path: str
    """Relative to the job's own directory."""
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """What a runner needs to know to execute a job. Does not change after the job is made."""

    steps: tuple[Step, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: str = ""
    """Absolute path on the runner, or in the container; empty: a fresh directory of the attempt's own."""
    container: Container | None = None
    """None: the steps are processes of the machine."""
    timeout_seconds: float = 1800.0
    """Wall clock of one attempt, all steps together."""
    queue_timeout_seconds: float = 0.0
    """How long it may wait for a runner each time that it is queued; 0: for ever."""
    start_timeout_seconds: float = 0.0
    """From the runner's confirmation to the first process; 0: for ever."""
    idle_timeout_seconds: float = 0.0
    """How long an attempt may write nothing; 0: for ever."""
    kill_grace_seconds: float = 5.0
    """Between TERM and KILL."""
    log_limit_bytes: int = 1 << 30
    """Of output of one attempt; beyond it head and tail are kept and a gap is recorded."""
    spool_policy: SpoolPolicy = SpoolPolicy.BLOCK
    cleanup: CleanupPolicy = CleanupPolicy.ALWAYS
    limits: Limits = NO_LIMITS
    required_labels: Mapping[str, str] = field(default_factory=dict)
    """A runner needs every one of these to take the job."""
    max_attempts: int = 1
    retry_delay_seconds: float = 0.0
    retry_rules: tuple[RetryRule, ...] = ()
    """Which outcomes are followed by another attempt; empty: every failure but REFUSED."""
    idempotent: bool = False
    loss_policy: LossPolicy = LossPolicy.WAIT
    loss_wait_seconds: float = 600.0
    inputs: tuple[JobInput, ...] = ()
    """What stands in the attempt's own directory when it starts."""
    outputs: tuple[str, ...] = ()
    """Patterns of what is kept of it afterwards."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Variables that get the value of a secret: variable → the secret's name."""
    stdin: Stdin = Stdin.NULL
    """Of every step; they share it."""
    terminal_rows: int = 24
    terminal_columns: int = 80
    """The size that the terminal of a PTY begins with."""
