"""Where jobs and their executions are in their lives, and the one table of the moves between."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


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
