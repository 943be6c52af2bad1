"""The moves of jobs in one transaction, written together: rows, events, and the length of the queue."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select, update

from runner_service.domain.jobs import Attempt, Job, JobState, Micros, transition
from runner_service.domain.outcomes import Outcome
from runner_service.domain.runner_feed import JOB_PHRASES, Counts, FeedKind, FeedRun
from runner_service.store import runner_feed
from runner_service.store.logs import LOG_COLUMNS, Log
from runner_service.store.rows import encode_outcome, job_changes
from runner_service.store.schema import attempts, job_events, jobs, queue_changes
from runner_service.store.statements import Connection, Query, integer, number, string

_CHANGES = (
    "state", "not_before", "started_at", "finished_at", "attempt_id", "attempts", "fence", "runner_id", "outcome",
    "cancel", "queue_deadline",
)  # fmt: skip
SAVE_JOB = Query(
    update(jobs)
    .values({name: bindparam(name, type_=jobs.c[name].type) for name in _CHANGES})
    .where(jobs.c.job_id == string("job_id"))
)
_EVENT_COLUMNS = ("job_id", "at", "state", "kind", "attempt_id", "detail")
ADD_EVENT = Query(insert(job_events).inline(), columns=_EVENT_COLUMNS)
ADD_QUEUE_CHANGE = Query(insert(queue_changes).inline(), columns=("change",))
QUEUE_LENGTH = Query(
    select(func.coalesce(func.sum(queue_changes.c.change), number(0)), func.count()).select_from(queue_changes)
)
FOLD_QUEUE_CHANGES = Query(delete(queue_changes).returning(queue_changes.c.change))
ADD_ATTEMPT = Query(insert(attempts))
_ATTEMPT_CHANGES = ("state", "started_at", "finished_at", "outcome", "reported")
_SAVE = update(attempts).where(attempts.c.attempt_id == string("attempt_id"))
SAVE_ATTEMPT = Query(_SAVE.values({name: bindparam(name, type_=attempts.c[name].type) for name in _ATTEMPT_CHANGES}))
_ENDED = (*_ATTEMPT_CHANGES, *(column.name for column in LOG_COLUMNS))
SAVE_ENDED = Query(_SAVE.values({name: bindparam(name, type_=attempts.c[name].type) for name in _ENDED}))
DROP_ATTEMPT = Query(delete(attempts).where(attempts.c.attempt_id == string("attempt_id")))
PREVIOUS_ATTEMPT = Query(
    select(attempts.c.attempt_id, attempts.c.runner_id)
    .where(attempts.c.job_id == string("job_id"), attempts.c.fence < integer("fence"))
    .order_by(attempts.c.fence.desc())
    .limit(number(1))
)
_FOLD_AT = 64


def queue_length(conn: Connection) -> int:
    """How many jobs are QUEUED. The caller holds `CREATE_LOCK`, so that it may fold the changes into one."""
    row = conn.one(QUEUE_LENGTH)
    assert row is not None
    length, changes = int(row[0]), int(row[1])
    if changes > _FOLD_AT:
        length = sum(int(change) for (change,) in conn.all(FOLD_QUEUE_CHANGES))
        conn.run(ADD_QUEUE_CHANGE, {"change": length})
    return length


class Ledger:
    """Collects what a transaction does to jobs and attempts; `flush` writes it in a few statements.

    Every job in it must be locked by the transaction, and appear with its newest form last.
    """

    def __init__(self, conn: Connection, now: Micros) -> None:
        self.conn = conn
        self.now = now
        self._queued = 0
        self._jobs: dict[str, Job] = {}
        self._events: list[dict[str, Any]] = []
        self._added: list[dict[str, Any]] = []
        self._saved: list[dict[str, Any]] = []
        self._ended: list[tuple[dict[str, Any], Log]] = []
        self._outcomes: dict[str, tuple[Outcome | None, str | None]] = {}
        """By job: the outcome of an attempt with its text, which mostly is the job's as well."""
        self._dropped: list[dict[str, Any]] = []
        self._feed: list[FeedRun] = []

    def created(self, job: Job) -> None:
        """The row itself is inserted by the caller."""
        self._queued += job.state is JobState.QUEUED
        self._event(job, "created", "")

    def moved(self, before: Job, after: Job, kind: str, detail: str = "") -> Job:
        self._queued += (after.state is JobState.QUEUED) - (before.state is JobState.QUEUED)
        self._jobs[after.job_id] = after
        self._event(after, kind, detail)
        return after

    def runs(self, job: Job, runner_id: str) -> Job:
        """ASSIGNED → RUNNING. The attempt is for the caller."""
        running = transition(job, JobState.RUNNING, at=self.now, attempts=job.attempts + 1)
        return self.moved(job, running, "running", runner_id)

    def add_attempt(self, attempt: Attempt, *, bound_to: str, came_with: int = 0) -> None:
        self._added.append(
            {
                "attempt_id": attempt.attempt_id,
                "job_id": attempt.job_id,
                "number": attempt.number,
                "runner_id": attempt.runner_id,
                "fence": attempt.fence,
                "state": attempt.state.value,
                "assigned_at": attempt.assigned_at,
                "started_at": attempt.started_at,
                "finished_at": None,
                "outcome": None,
                "reported": 0,
                "log_next": 0,
                "log_stdout": 0,
                "log_stderr": 0,
                "log_bytes": 0,
                "log_state": 0,
                "log_sha256": None,
                "bound_to": bound_to,
                "came_with": came_with,
            }
        )

    def save_attempt(self, attempt: Attempt) -> None:
        self._saved.append(self._changes(attempt, reported=False))

    def end_attempt(self, attempt: Attempt, log: Log, *, reported: bool) -> None:
        """Saves an attempt that has ended, and its log as it stands when the ledger is flushed."""
        self._ended.append((self._changes(attempt, reported=reported), log))

    def _changes(self, attempt: Attempt, *, reported: bool) -> dict[str, Any]:
        text = encode_outcome(attempt.outcome)
        self._outcomes[attempt.job_id] = (attempt.outcome, text)
        return {
            "attempt_id": attempt.attempt_id,
            "state": attempt.state.value,
            "started_at": attempt.started_at,
            "finished_at": attempt.finished_at,
            "outcome": text,
            "reported": int(reported),
        }

    def drop_attempt(self, job: Job) -> tuple[str, str]:
        """Takes back the unconfirmed attempt of ``job``; returns the attempt and the runner that are newest then."""
        self._dropped.append({"attempt_id": job.attempt_id})
        if job.attempts == 0:
            return "", ""
        row = self.conn.one(PREVIOUS_ATTEMPT, {"job_id": job.job_id, "fence": job.fence})
        return (row[0], row[1]) if row else ("", "")

    def flush(self) -> None:
        conn = self.conn
        conn.many(SAVE_JOB, [self._job_changes(job) for job in self._jobs.values()])
        conn.many(ADD_ATTEMPT, self._added)
        conn.many(SAVE_ATTEMPT, self._saved)
        conn.many(SAVE_ENDED, [{**changes, **log.values()} for changes, log in self._ended])
        conn.many(DROP_ATTEMPT, self._dropped)
        conn.many(ADD_EVENT, self._events)
        if self._queued:
            conn.run(ADD_QUEUE_CHANGE, {"change": self._queued})
        if self._feed:  # Last, because it locks the heads of feeds.
            runner_feed.add(conn, self._feed)

    def _job_changes(self, job: Job) -> dict[str, Any]:
        outcome, text = self._outcomes.get(job.job_id, (None, None))
        return job_changes(job, text if outcome is job.outcome else encode_outcome(job.outcome))

    def _event(self, job: Job, kind: str, detail: str) -> None:
        self._events.append(
            {
                "job_id": job.job_id,
                "at": self.now,
                "state": job.state.value,
                "kind": kind,
                "attempt_id": job.attempt_id,
                "detail": detail,
            }
        )
        if bound_to := job.bound_to:
            self._tell_feed(bound_to, job, kind, detail)

    def _tell_feed(self, runner_id: str, job: Job, kind: str, detail: str) -> None:
        word = job.state.value if kind == "finished" else kind
        if word not in JOB_PHRASES or (kind == "requeued" and not job.attempts):
            return
        level, _ = JOB_PHRASES[word]
        step = job.outcome.step if job.outcome is not None else 0
        run = FeedRun(
            runner_id=runner_id,
            first=0,
            kind=FeedKind.EVENT,
            counts=Counts(**{level.lower(): 1}),
            first_at=self.now,
            last_at=self.now,
            job_id=job.job_id,
            word=word,
            step=job.spec.steps[step].name if step < len(job.spec.steps) else "",
        )
        self._feed.append(run)
