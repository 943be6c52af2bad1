"""The store: every fact that must outlive a process.

Rules for all methods: each is one transaction, durable when it returns, and may be called from any task of the event
loop. A method that raises has changed nothing. Times are stamped by the store with the store's own clock (the
database's on PostgreSQL), so that leases compare times of one clock. A full disk raises `StorageFull`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from runner_service.domain.dispatch import Assignment, Beat, Order, Report, Verdict, Want
from runner_service.domain.jobs import Attempt, Job, JobEvent, JobKind, JobState, Micros
from runner_service.domain.logs import LogSeal, LogStatus
from runner_service.domain.runners import Runner


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

    async def create(self, job: Job, *, fingerprint: str = "", queue_limit: int) -> tuple[Job, bool]:
        """Stores a new job, QUEUED or already terminal, stamps ``created_at`` (and ``finished_at``), records
        ``created``, and returns it with True. When ``request_id`` is set and known for this origin and
        ``created_by``, returns the job of then with False: same id, same answer, no second effect.

        Raises:
            AlreadyExists: The request id is known with another ``fingerprint``.
            QueueFull: The job is QUEUED and ``queue_limit`` jobs are QUEUED already.
        """
        ...

    async def get(self, job_id: str) -> Job:
        """Raises `JobNotFound`, also for an id of any other form."""
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


class RunnerStore(Protocol):
    """Registered machines."""

    async def register(self, runner: Runner) -> Runner:
        """Stores a runner, or replaces the one with this id; stamps ``registered_at`` when it is new."""
        ...

    async def get(self, runner_id: str) -> Runner:
        """Raises `RunnerNotFound`."""
        ...

    async def list(self, *, limit: int, after: str = "") -> Sequence[Runner]:
        """Runners in order of name, then id. ``after``: the id of the last runner of the page before."""
        ...


class DispatchStore(Protocol):
    """Claims, leases and reports: DESIGN.md §5 as transactions."""

    async def beat(self, beat: Beat) -> tuple[Runner, Sequence[Order]]:
        """One Sync of a worker: takes over the identity for ``beat.session_id``, renews the lease, confirms each listed
        attempt that is ASSIGNED to this runner (ASSIGNED → RUNNING, job and attempt, ``attempts`` + 1), and returns
        one order for every attempt that is listed or that the runner should have:

        * OFFER: ASSIGNED and not listed, to be listed in the next Sync before anything is started (with ``slots`` 0 it
          goes back to the queue instead, at no cost);
        * RUN: confirmed, may be started if it is not;
        * CANCEL: confirmed, and a cancel is accepted: end it and report;
        * FORGET: listed, but finished, unknown or of another fence or runner: end it and delete it.

        A RUNNING attempt that is not listed is known to be gone, because the list is complete: it ends LOST with
        detail ``runner_forgot`` through the same path as a report (so a job may be retried).

        Raises:
            RunnerNotFound: No such runner: register again.
            StaleWorker: A later session (ids sort by start) holds the identity.
            StaleSync: A beat of this session with a higher ``sync_number`` was taken before.
        """
        ...

    async def claim(self, wants: Sequence[Want]) -> Sequence[Assignment]:
        """Assigns queued jobs to runners, in one transaction: for each want up to ``count`` jobs whose required labels
        its labels satisfy and whose ``not_before`` has passed, by priority, then age. A job goes to one want only; with
        several servers no two get the same job, and none waits for another. Stamps, moves (QUEUED → ASSIGNED, ``fence``
        + 1, a new attempt) and records them."""
        ...

    async def release_unconfirmed(self, *, older_than_seconds: float) -> Sequence[str]:
        """Returns jobs that were ASSIGNED longer ago and never confirmed to the queue, at no cost: their attempts are
        gone and not counted. Returns the job ids."""
        ...

    async def report(self, reports: Sequence[Report]) -> Sequence[Verdict]:
        """Ends attempts, each independently but in one transaction; one verdict per report, in order.

        Appends ``report.journal`` to the log first and seals it with ``report.seal`` if given. Then the attempt is
        FINISHED and its job moves to what `final_outcome` and `may_retry` say, or back to QUEUED with ``not_before``.
        Idempotent by (attempt, fence): repeated, the verdict is ACCEPTED again and nothing changes.

        Verdicts: ACCEPTED; STALE (unknown attempt, other fence or runner, or ended by somebody else as LOST);
        LOG_MISSING (the log is not complete up to the seal: ship the rest and report again), in which case nothing of
        this report has changed.
        """
        ...

    async def expire_leases(self, *, kill_budget_seconds: float) -> Sequence[str]:
        """Ends RUNNING attempts whose runner has been away too long, by the job's loss policy: RETRY at lease end +
        kill budget, WAIT at lease end + ``loss_wait_seconds`` + kill budget, FAIL at lease end + kill budget. A job
        with an accepted cancel ends CANCELLED at lease end + kill budget. Logs are sealed incomplete. Returns the ids
        of the jobs that moved."""
        ...

    async def renew_leases(self, *, lease_seconds: float) -> None:
        """Gives every runner a full lease from now: a server that was away itself blames nobody."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LogChunk:
    """A run of whole frames (`domain.logs.encode`) as stored."""

    first_sequence: int
    records: int
    journal: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LogArchive:
    """Where a sealed log went when its rows were deleted."""

    blob_key: str
    index: bytes
    """Opaque to the store: written and read by ``services.logs``."""


class LogStore(Protocol):
    """The journals of attempts."""

    async def append(self, attempt_id: str, fence: int, chunk: LogChunk) -> LogStatus:
        """Appends frames and returns how the log stands then. Records below ``next_sequence`` are dropped as
        duplicates; a chunk that begins above it is not appended at all: the status says where to resume.

        Raises:
            StaleAttempt: Unknown attempt, another fence, or the attempt has ended.
            LogSealed: The log is sealed and the chunk brings something new.
        """
        ...

    async def seal(self, attempt_id: str, fence: int, seal: LogSeal) -> LogStatus:
        """Seals the log if all ``seal.records`` are there and the byte counts agree, else leaves it open: the status
        says. Repeated, it changes nothing. Raises `StaleAttempt`."""
        ...

    async def status(self, attempt_id: str) -> LogStatus:
        """Raises `AttemptNotFound`."""
        ...

    async def read(self, attempt_id: str, *, sequence: int, max_bytes: int) -> Sequence[LogChunk]:
        """Chunks from the one that holds ``sequence`` on, at least one if there is any, up to about ``max_bytes`` of
        journal. Empty when nothing is there (yet), or when the log is archived."""
        ...

    async def archivable(self, *, limit: int) -> Sequence[str]:
        """Attempts whose sealed logs still are rows, oldest first, leaving out logs of less than one chunk's size
        (a row is the better place for them)."""
        ...

    async def archive(self, attempt_id: str, archive: LogArchive) -> None:
        """Records the archive and deletes the rows."""
        ...

    async def archived(self, attempt_id: str) -> LogArchive | None:
        """The archive of a log, if its rows are gone."""
        ...


class Store(Protocol):
    """All of it, open. Made by ``store.open_store(url, …)``, an async context manager."""

    jobs: JobStore
    runners: RunnerStore
    dispatch: DispatchStore
    logs: LogStore
    shared: bool
    """Several servers may use it at the same time: waiters must poll, hints from others may get lost."""
