"""What workers and the server tell each other, and the numbers of the protocol (DESIGN.md §5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import NamedTuple

from runner_service.domain.jobs import RUNNER_LABEL, Attempt, Cancel, Job
from runner_service.domain.logs import LogSeal
from runner_service.domain.outcomes import Outcome
from runner_service.domain.runner_health import Check
from runner_service.domain.runners import Load, Runner, RunnerState, satisfies


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchTimes:
    """The protocol's numbers, in seconds."""

    lease: float = 30.0
    """The server counts on a runner for this long after it last heard of it."""
    park_idle: float = 25.0
    """How long a Sync of an idle worker is held."""
    park_busy: float = 10.0
    """How long a Sync of a busy worker is held."""
    park_measured: float = 2.0
    """How long, at most, the Sync of a worker is held that has agents: it brings how much memory they hold."""
    confirm: float = 15.0
    """An assignment that is not confirmed by then goes back to the queue."""
    kill_budget: float = 10.0
    """What a worker may need to end its processes once it decides to."""


class Phase(IntEnum):
    """How far a worker is with an attempt. The numbers are those of ``runner.v1.HeldAttempt.Phase``."""

    HELD = 1
    STARTED = 2
    ENDING = 3
    ENDED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An attempt that a worker has."""

    attempt_id: str
    fence: int
    phase: Phase = Phase.STARTED
    memory_bytes: int = 0
    """What its processes hold, as measured last; 0: not measured yet."""
    measured: bool = False
    """It is an agent's, whose memory people watch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """The full state of a worker, as one Sync brings it."""

    runner_id: str
    session_id: str
    """UUIDv7 of the worker process: the later one holds the identity."""
    sync_number: int = 0
    """Counts the session's Syncs. The list is complete only as of then: a beat with a lower number than one that was
    taken already came late and must change nothing."""
    boot_id: str = ""
    spool_id: str = ""
    """Names the memory in which the machine writes down each attempt before it starts it; empty: it has none."""
    version: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    slots: int = 1
    listed: tuple[Listed, ...] = ()
    """Every attempt the worker has, confirmed or not, ended or not, until the server took its report."""
    lease_seconds: float = 30.0
    paused: bool = False
    """It has heard that it is to take no work."""
    load: Load | None = None
    """As it measured; None: it did not."""
    check: int = 0
    """The newest health check that it has answered."""
    checks: Mapping[str, Check] = field(default_factory=dict)
    """The answer to that, the first time."""
    changes_only: bool = False
    """The worker knows its orders: those that say nothing but what its list shows are left out."""
    reports_heard: int = 0
    """The newest of its reports that is over: the list has what the answers up to that one brought."""
    claims: bool = False
    """An answer with news goes out at once: it takes jobs for the free slots along."""


class Action(StrEnum):
    """What a worker is to do with one attempt."""

    OFFER = "OFFER"
    """List it in the next Sync; start nothing yet."""
    RUN = "RUN"
    """Start it if it is not started; go on if it is."""
    START = "START"
    """Start it: it is confirmed already. Said once, in the answer to a report."""
    CANCEL = "CANCEL"
    """End it and report."""
    FORGET = "FORGET"
    """End it if it lives, delete it, report nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the server wants of one attempt."""

    action: Action
    attempt_id: str
    fence: int
    job: Job | None = None
    """For all but FORGET."""
    cancel: Cancel | None = None
    """For CANCEL."""

    def news_at(self, phase: Phase | None) -> bool:
        """Tells whether it asks for something that a list with ``phase`` (None: not listed) does not show yet."""
        if self.action is Action.RUN:
            return phase is Phase.HELD
        if self.action is Action.CANCEL:
            return phase not in (Phase.ENDING, Phase.ENDED)
        return True


class Moved(NamedTuple):
    """A job whose state was changed, as it is now, and the attempt by which it was, which may be gone."""

    job: Job
    attempt_id: str


class BeatAnswer(NamedTuple):
    """What a beat brings."""

    runner: Runner
    orders: Sequence[Order]
    moved: Sequence[Moved]
    active: Mapping[str, int]
    """Attempts that it has, by the runner that they count for: its own, and those that it executes for others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """A worker with room for more."""

    runner_id: str
    labels: Mapping[str, str]
    count: int
    only: frozenset[str] = frozenset()
    """If set: only jobs that require one of these labels."""
    hosts: bool = False
    """It also executes the jobs of runners that have no worker."""
    own: bool = True
    """False: only those, as its own runner takes no work."""

    def takes(self, required: Mapping[str, str]) -> bool:
        """Tells whether a job with these required labels is for it."""
        return self.own and satisfies(self.labels, required) and (not self.only or not self.only.isdisjoint(required))


def want_of(runner: Runner, labels: Mapping[str, str], count: int) -> Want:
    """What the worker of ``runner`` with these labels has room for. A local one whose own runner takes no work goes on
    executing for those that have no worker."""
    return Want(
        runner_id=runner.runner_id,
        labels={**labels, RUNNER_LABEL: runner.runner_id},
        count=count if runner.local or runner.state is RunnerState.ACTIVE else 0,
        hosts=runner.local,
        own=runner.state is RunnerState.ACTIVE,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A queued job that was given to a runner."""

    job: Job
    attempt: Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How an attempt ended, with what is left of its log."""

    runner_id: str
    attempt_id: str
    fence: int
    outcome: Outcome
    first_sequence: int = 0
    """Of ``journal``."""
    records: int = 0
    journal: bytes = b""
    """The last frames of the log, for jobs that end before their log was shipped."""
    seal: LogSeal | None = None
    """None: the log is given up as it is and marked incomplete."""


class Verdict(StrEnum):
    """What became of a report."""

    ACCEPTED = "ACCEPTED"
    STALE = "STALE"
    LOG_MISSING = "LOG_MISSING"


@dataclass(frozen=True, slots=True, kw_only=True)
class Along:
    """What a worker has and wants besides its reports."""

    runner_id: str
    session_id: str
    sync_number: int
    """The newest Sync that it has sent. Nothing is confirmed before that was taken: then every list that is judged from
    now on was made by a worker that had what is confirmed here."""
    held: tuple[Listed, ...] = ()
    """Offered, and to be confirmed."""
    want: Want | None = None
    """What it would take in the place of what it reports."""
    number: int = 0
    """Counts the session's reports: what is claimed is confirmed at once, and `Beat.reports_heard` says from when on a
    list shows it. 0: it is offered."""


class Reported(NamedTuple):
    """What reports brought."""

    verdicts: Sequence[Verdict]
    moved: Sequence[Moved]
    orders: Sequence[Order] = ()
    """RUN, CANCEL or FORGET for what was to be confirmed, and START or OFFER of what was claimed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What the server wants of a worker as a whole."""

    paused: bool = False
    """Take no work."""
    restart: bool = False
    """Begin anew, as a process of its own."""
    check: int = 0
    """Make health check number so and so, unless it is done."""

    def is_news(self, beat: Beat) -> bool:
        """Asks for something that the worker does not say is done."""
        return self.restart or self.paused is not beat.paused or self.check > beat.check


NO_CONTROL = Control()


def control_of(runner: Runner, *, active: int, session_id: str) -> Control:
    """What ``runner``, with so many attempts of its own, was told, in terms of its worker. A restart waits until none
    of them is left."""
    old = runner.state is RunnerState.RESTARTING and session_id == runner.told.old_session
    return Control(paused=runner.told.paused, restart=old and not active, check=runner.told.check)


def self_stop_seconds(job: Job, times: DispatchTimes) -> float:
    """How long after its lease ended a worker that is cut off may let this job run.

    With what follows on the server (`DispatchStore.expire_leases`) this keeps at most one execution alive: the worker
    counts its lease from before the server does, so it has ended the job, kill budget included, when the server acts.
    """
    return job.spec.loss_wait_seconds if job.spec.loss_policy.value == "WAIT" else 0.0
