"""A job, each execution of it, and what is told of its moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from runner_service.domain.jobs.spec import JobSpec
from runner_service.domain.jobs.states import AttemptState, JobState
from runner_service.domain.outcomes import Outcome

RUNNER_LABEL = "runner_id"
"""The label that every runner has by itself, its id as the value: a job that requires it is bound to that runner."""

Micros = int
"""A point in time: microseconds since 1970 in UTC. Durations in seconds are ``float``."""


class JobKind(StrEnum):
    """What sort of job it is."""

    COMMAND = "COMMAND"
    JOB = "JOB"
    AGENT = "AGENT"


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
    """The contract says of what; an end is told by `Outcome.words`."""
