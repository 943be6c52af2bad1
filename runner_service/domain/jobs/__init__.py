"""Jobs and attempts: what was asked for, each execution of it, and the moves its state may make."""

from __future__ import annotations

from runner_service.domain.jobs.job import RUNNER_LABEL, Attempt, Cancel, Job, JobEvent, JobKind, Micros
from runner_service.domain.jobs.moves import IllegalMove, final_outcome, may_retry, queue_deadline, state_of, transition
from runner_service.domain.jobs.spec import (
    NO_LIMITS,
    CleanupPolicy,
    JobInput,
    JobSpec,
    Limits,
    LossPolicy,
    RetryRule,
    SpoolPolicy,
    Stdin,
    Step,
)
from runner_service.domain.jobs.states import MOVES, AttemptState, JobState

__all__ = [
    "MOVES",
    "NO_LIMITS",
    "RUNNER_LABEL",
    "Attempt",
    "AttemptState",
    "Cancel",
    "CleanupPolicy",
    "IllegalMove",
    "Job",
    "JobEvent",
    "JobInput",
    "JobKind",
    "JobSpec",
    "JobState",
    "Limits",
    "LossPolicy",
    "Micros",
    "RetryRule",
    "SpoolPolicy",
    "Stdin",
    "Step",
    "final_outcome",
    "may_retry",
    "queue_deadline",
    "state_of",
    "transition",
]
