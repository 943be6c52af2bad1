"""The one door through which the state of a job changes, and what an outcome means for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from runner_service.domain.errors import JobFinished, RunnerError
from runner_service.domain.jobs.job import Job, Micros
from runner_service.domain.jobs.spec import JobSpec, LossPolicy
from runner_service.domain.jobs.states import MOVES, JobState
from runner_service.domain.outcomes import Outcome, OutcomeKind
from runner_service.domain.records import changed


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
