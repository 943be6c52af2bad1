"""Jobs and attempts: what was asked for, each execution of it, and the moves its state may make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from runner_service.domain.containers import Container
from runner_service.domain.errors import JobFinished, RunnerError
from runner_service.domain.outcomes import Outcome, OutcomeKind
from runner_service.domain.records import changed

RUNNER_LABEL = "runner_id"
"""The label that every runner has by itself, its id as the value: a job that requires it is bound to that runner."""

Micros = int
"""A point in time: microseconds since 1970 in UTC. Durations in seconds are ``float``."""


class JobKind(StrEnum):
    """What sort of job it is."""

    COMMAND = "COMMAND"
    JOB = "JOB"
    AGENT = "AGENT"


class JobState(StrEnum):
    """Where a job is in its life."""

    QUEUED = "QUEUED"
    ASSIGNED = "ASSIGNED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    CANCELLED = "CANCELLED"
    LOST = "LOST"

    @property
    def terminal(self) -> bool:
        return not MOVES[self]


_ENDS = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.TIMED_OUT, JobState.CANCELLED, JobState.LOST})

MOVES: Mapping[JobState, frozenset[JobState]] = {
    # A queued job that never starts can be cancelled, outwait its queue budget, or be refused.
    JobState.QUEUED: frozenset({JobState.ASSIGNED, JobState.CANCELLED, JobState.TIMED_OUT, JobState.FAILED}),
    # Back to QUEUED when the assignment was not confirmed: nothing had started.
    JobState.ASSIGNED: frozenset({JobState.QUEUED, JobState.RUNNING}) | _ENDS,
    # Back to QUEUED for a retry, or when it is known that it was never started.
    JobState.RUNNING: frozenset({JobState.QUEUED}) | _ENDS,
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.TIMED_OUT: frozenset(),
    JobState.CANCELLED: frozenset(),
    JobState.LOST: frozenset(),
}
"""The one table of legal moves. A state without moves is terminal, and final."""


class AttemptState(StrEnum):
    """Where one execution is in its life."""

    ASSIGNED = "ASSIGNED"
    """Given to a runner that has not confirmed it: no process can exist."""
    RUNNING = "RUNNING"
    """Confirmed: the runner may start the process, or has."""
    FINISHED = "FINISHED"
    """Ended; the attempt's outcome says how."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """An accepted cancel. It fixes the final state as CANCELLED, whatever the process still does."""

    at: Micros
    by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What was asked for, and how it stands."""

    job_id: str
    kind: JobKind
    spec: JobSpec
    state: JobState
    created_at: Micros
    origin: str = "native"
    """The API it came in by: ``native``, ``sct``, …. Each dialect lists only its own."""
    priority: int = 0
    """Higher runs first; within one priority first in, first out."""
    tags: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    """What a dialect has to give back as it came and nothing else looks at, e.g. SCT's priority word."""
    request_id: str = ""
    """The client's idempotency key, unique within ``origin`` and ``created_by``; empty: none."""
    created_by: str = ""
    retry_of: str = ""
    """The job that it does again; empty: none."""
    not_before: Micros = 0
    """A queued job is not assigned before this time (retry delay)."""
    queue_deadline: Micros = 0
    """A job that is still QUEUED then ends TIMED_OUT; 0: it waits for ever."""
    started_at: Micros | None = None
    """When the first attempt was confirmed."""
    finished_at: Micros | None = None
    attempt_id: str = ""
    """The newest attempt; empty before the first."""
    attempts: int = 0
    """Attempts that started. An assignment that was never confirmed does not count."""
    fence: int = 0
    """Counts assignments; every attempt has the value of its own."""
    runner_id: str = ""
    """The runner of the newest attempt."""
    outcome: Outcome | None = None
    """Of the last attempt, once the job is terminal."""
    cancel: Cancel | None = None

    @property
    def bound_to(self) -> str:
        """The runner that it was submitted to; empty: any that has the labels."""
        return self.spec.required_labels.get(RUNNER_LABEL, "")

    @property
    def cancelling(self) -> bool:
        """A cancel was accepted and the tree is not yet reported dead."""
        return self.cancel is not None and not self.state.terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One execution of a job."""

    attempt_id: str
    job_id: str
    number: int
    """From 1."""
    runner_id: str
    fence: int
    state: AttemptState
    assigned_at: Micros
    started_at: Micros | None = None
    finished_at: Micros | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """One move of a job, or an accepted cancel, in the order in which they were committed."""

    sequence: int
    """Grows by commit order over all jobs; not dense."""
    job_id: str
    at: Micros
    state: JobState
    """The state after the event."""
    kind: str
    """``created``, ``assigned``, ``running``, ``requeued``, ``cancel_requested``, ``finished``."""
    attempt_id: str = ""
    detail: str = ""


class IllegalMove(RunnerError):
    """A job in state {state} cannot become {to}."""

    reason = "ILLEGAL_MOVE"


def transition(job: Job, to: JobState, *, at: Micros, **changes: object) -> Job:
    """Moves ``job`` to the state ``to``; the only door through which a state changes.

    ``changes`` are further fields to set. Stamps ``started_at`` once and ``finished_at`` at the end.

    Raises:
        JobFinished: The job is terminal, and terminal is final.
        IllegalMove: The table has no such move: a fault in the caller.
    """
    if job.state.terminal:
        raise JobFinished(job_id=job.job_id, state=job.state)
    if to not in MOVES[job.state]:
        raise IllegalMove(state=job.state, to=to)
    if to is JobState.RUNNING and job.started_at is None:
        changes["started_at"] = at
    if to.terminal:
        changes["finished_at"] = at
    return changed(job, state=to, **changes)


def state_of(outcome: Outcome) -> JobState:
    """The terminal state that an outcome means."""
    if outcome.succeeded:
        return JobState.SUCCEEDED
    return _STATE_OF_KIND[outcome.kind]


_STATE_OF_KIND: Mapping[OutcomeKind, JobState] = {
    OutcomeKind.EXITED: JobState.FAILED,
    OutcomeKind.SIGNALED: JobState.FAILED,
    OutcomeKind.OUT_OF_MEMORY: JobState.FAILED,
    OutcomeKind.OUT_OF_DISK: JobState.FAILED,
    OutcomeKind.REFUSED: JobState.FAILED,
    OutcomeKind.INFRASTRUCTURE: JobState.FAILED,
    OutcomeKind.TIMED_OUT: JobState.TIMED_OUT,
    OutcomeKind.CANCELLED: JobState.CANCELLED,
    OutcomeKind.LOST: JobState.LOST,
}


def may_retry(job: Job, outcome: Outcome) -> bool:
    """Tells whether an attempt that ended so is followed by another.

    Never after a cancel or success, and never while processes of it may live. A lost attempt may have had effects: it
    is repeated only when the job declares itself idempotent and its loss policy is RETRY. Of the rest the job's rules
    decide; without any, all are repeated but a refused start, which would be refused again.
    """
    if job.cancel is not None or outcome.succeeded or outcome.survivors or job.attempts >= job.spec.max_attempts:
        return False
    if outcome.kind is OutcomeKind.LOST:
        return job.spec.idempotent and job.spec.loss_policy is LossPolicy.RETRY
    if outcome.kind is OutcomeKind.CANCELLED:
        return False
    if job.spec.retry_rules:
        return any(rule.matches(outcome) for rule in job.spec.retry_rules)
    return outcome.kind is not OutcomeKind.REFUSED


def queue_deadline(spec: JobSpec, *, since: Micros) -> Micros:
    """Until when a job that can be assigned from ``since`` on may wait; 0: for ever."""
    return since + round(spec.queue_timeout_seconds * 1e6) if spec.queue_timeout_seconds else 0


def final_outcome(job: Job, outcome: Outcome) -> Outcome:
    """The outcome as recorded: an accepted cancel wins over whatever the process did."""
    if job.cancel is None or outcome.kind is OutcomeKind.CANCELLED:
        return outcome
    return replace(outcome, kind=OutcomeKind.CANCELLED, detail=job.cancel.by or "user", message=job.cancel.reason)
