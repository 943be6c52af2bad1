"""Jobs, their attempts and their events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from runner_service.domain.jobs import Attempt, Job, JobEvent, JobKind, JobState, Micros


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs; every condition that is set must hold."""

    origin: str | None = None
    kinds: frozenset[JobKind] = frozenset()
    states: frozenset[JobState] = frozenset()
    cancelling: bool | None = None
    """True: only those with an accepted cancel, whatever their state; False: only those without."""
    runner_id: str | None = None
    """Of the newest attempt."""
    bound_to: str | None = None
    """The runner that it was submitted to."""
    created_since: Micros | None = None
    """Inclusive."""
    created_before: Micros | None = None
    """Exclusive."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """All of these tags with these values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """A page of jobs, newest first (created_at, then job_id, both falling)."""

    jobs: tuple[Job, ...]
    total: int
    """Jobs that match the filter, on all pages."""
    next_after: str = ""
    """Pass as ``after`` for the page behind this one; empty: this is the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """What a deletion of old jobs did."""

    jobs: int
    blob_keys: tuple[str, ...]
    """Blobs of archived logs that nothing points to any more."""


class JobStore(Protocol):
    """Jobs, their attempts and their events."""

    async def create(
        self, job: Job, *, fingerprint: str = "", queue_limit: int, patient: bool = False
    ) -> tuple[Job, bool]:
        """Stores a new job, QUEUED or already terminal, stamps ``created_at`` (and ``finished_at``), records
        ``created``, and returns it with True. When ``request_id`` is set and known for this origin and
        ``created_by``, returns the job of then with False: same id, same answer, no second effect. A ``patient`` caller
        can wait some milliseconds for a transaction that there would be anyway.

        Raises:
            AlreadyExists: The request id is known with another ``fingerprint``.
            QueueFull: The job is QUEUED and ``queue_limit`` jobs are QUEUED already.
        """
        ...

    async def get(self, job_id: str) -> Job:
        """Raises `JobNotFound`, also for an id of any other form."""
        ...

    async def by_request(self, *, origin: str, created_by: str, request_id: str) -> Job:
        """The job that the request id made. Raises `RequestNotFound`."""
        ...

    async def list(self, filter: JobFilter, *, limit: int, offset: int = 0, after: str = "") -> JobPage:
        """``limit`` 0: no limit. ``after`` is a page's ``next_after``; ``offset`` then counts from there.

        Raises:
            InvalidArgument: ``after`` is not of this store.
        """
        ...

    async def cancel(self, job_id: str, *, by: str, reason: str) -> Job:
        """Accepts a cancel. QUEUED and ASSIGNED jobs (nothing has started) are CANCELLED at once with an outcome, and
        an unconfirmed attempt is gone. A RUNNING job gets ``cancel`` set and ``cancel_requested`` recorded; repeated,
        it changes nothing.

        Raises:
            JobNotFound: No such job.
            JobFinished: The job is terminal. Its ``state`` is in the error's metadata.
        """
        ...

    async def attempts(self, job_id: str) -> Sequence[Attempt]:
        """All attempts of a job, oldest first; empty for an unknown job."""
        ...

    async def attempt(self, attempt_id: str) -> Attempt:
        """Raises `AttemptNotFound`."""
        ...

    async def count(self, origin: str | None = None) -> Mapping[JobState, int]:
        """How many jobs are in each state; states without jobs may be absent."""
        ...

    async def position(self, job_id: str) -> int:
        """How many QUEUED jobs stand before this QUEUED one (by priority, then age), whatever labels they need."""
        ...

    async def events(self, *, after: int, limit: int, job_id: str | None = None) -> Sequence[JobEvent]:
        """Events behind sequence ``after``, in commit order. An event that is not in an answer has a sequence above
        all that are: reading on from the last one misses none, also with several servers."""
        ...

    async def last_event(self) -> int:
        """The newest sequence that `events` would give; 0 when there is none."""
        ...

    async def expire(self, *, finished_before: Micros, limit: int) -> Expired:
        """Deletes up to ``limit`` terminal jobs that finished before, with attempts, events and logs."""
        ...
