"""How attempts end: by their runner's report, or given up by the server. Both go through `end`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import select

from runner_service.domain.dispatch import Moved, Report, Verdict
from runner_service.domain.ids import is_id
from runner_service.domain.jobs import (
    Attempt,
    AttemptState,
    Cancel,
    Job,
    JobState,
    final_outcome,
    may_retry,
    queue_deadline,
    state_of,
    transition,
)
from runner_service.domain.outcomes import Outcome, OutcomeKind
from runner_service.domain.records import changed
from runner_service.store import bodies, runner_feed
from runner_service.store.journal import Piece
from runner_service.store.ledger import Ledger
from runner_service.store.logs import ADD_CHUNK, LOG_COLUMNS, Log, log_of
from runner_service.store.rows import ATTEMPT_COLUMNS, ATTEMPT_WIDTH, JOB_COLUMNS, JOB_WIDTH, attempt_of, job_of
from runner_service.store.schema import attempts, jobs
from runner_service.store.statements import Connection, Query, Row, among

EXECUTION = (
    select(*JOB_COLUMNS, *ATTEMPT_COLUMNS, *LOG_COLUMNS, attempts.c.reported)
    .select_from(attempts)
    .join(jobs, jobs.c.job_id == attempts.c.job_id)
)
"""Attempts with their jobs. Who locks several does so in order of the job, so that no two wait for each other."""
LOCKED = Query(
    EXECUTION.where(among(attempts.c.attempt_id, "attempt_ids"))
    .order_by(jobs.c.job_id)
    .with_for_update(of=[jobs, attempts])
)


class Execution(NamedTuple):
    """An attempt with its job and its log, as one transaction has them."""

    job: Job
    attempt: Attempt
    log: Log
    reported: bool


def executions_of(conn: Connection, rows: Sequence[Row]) -> list[Execution]:
    """Executions from rows of `EXECUTION`."""
    found = bodies.load(conn, dict.fromkeys(row[0] for row in rows))
    start, end = JOB_WIDTH + ATTEMPT_WIDTH, JOB_WIDTH + ATTEMPT_WIDTH + len(LOG_COLUMNS)
    return [
        Execution(
            job_of(row, found[row[0]]),
            attempt_of(row[JOB_WIDTH:start]),
            log_of(row[JOB_WIDTH], row[start:end]),
            bool(row[end]),
        )
        for row in rows
    ]


def end(ledger: Ledger, execution: Execution, outcome: Outcome, *, reported: bool) -> Execution:
    """Ends an attempt and moves its job on: to its final state, or back to the queue. The caller closes the log and
    flushes the ledger, which writes it."""
    job, attempt = execution.job, execution.attempt
    now = ledger.now
    if attempt.state is AttemptState.ASSIGNED:
        # It ended before it was confirmed, e.g. refused at once: it counts, or a retry would never end.
        job = replace(job, attempts=attempt.number)
    recorded = final_outcome(job, outcome)
    if may_retry(job, outcome):
        not_before = now + round(job.spec.retry_delay_seconds * 1e6)
        deadline = queue_deadline(job.spec, since=not_before)
        after = transition(job, JobState.QUEUED, at=now, not_before=not_before, queue_deadline=deadline)
        ledger.moved(execution.job, after, "requeued", outcome.words)
    else:
        # A worker that stops cancels by itself: what is CANCELLED says by whom, whoever it was.
        by_worker = recorded.kind is OutcomeKind.CANCELLED and job.cancel is None
        cancel = Cancel(at=now, by=recorded.detail, reason=recorded.message) if by_worker else job.cancel
        after = transition(job, state_of(recorded), at=now, outcome=recorded, cancel=cancel)
        ledger.moved(execution.job, after, "finished", recorded.words)
    ended = changed(attempt, state=AttemptState.FINISHED, finished_at=now, outcome=recorded)
    ledger.end_attempt(ended, execution.log, reported=reported)
    return Execution(after, ended, execution.log, reported)


def give_up(conn: Connection, ledger: Ledger, execution: Execution, outcome: Outcome) -> Execution:
    """Ends an attempt that its runner will not report: its log stays as it is."""
    _take_up(conn, execution, execution.log, ())
    execution.log.give_up()
    return end(ledger, execution, outcome, reported=False)


def locked(conn: Connection, attempt_ids: Collection[str]) -> Sequence[Row]:
    """Rows of `EXECUTION` for these attempts."""
    return conn.all(LOCKED, {"attempt_ids": conn.array(attempt_ids)}) if attempt_ids else ()


PreparedReport = tuple[Report, Sequence[Piece]]
"""A report with its journal cut into rows."""


def report(conn: Connection, reports: Sequence[PreparedReport]) -> list[tuple[Verdict, Moved | None]]:
    """One verdict per report, in order, with what it moved."""
    ids = dict.fromkeys(one.attempt_id for one, _ in reports if is_id(one.attempt_id))
    known = {execution.attempt.attempt_id: execution for execution in executions_of(conn, locked(conn, ids))}
    ledger = Ledger(conn, conn.now())
    chunks: list[dict[str, object]] = []
    verdicts: list[tuple[Verdict, Moved | None]] = []
    for one, pieces in reports:
        execution = known.get(one.attempt_id)
        if (
            execution is None
            or execution.attempt.fence != one.fence
            or execution.attempt.runner_id != one.runner_id
            or (execution.attempt.state is AttemptState.FINISHED and not execution.reported)
        ):
            verdicts.append((Verdict.STALE, None))
        elif execution.attempt.state is AttemptState.FINISHED:
            verdicts.append((Verdict.ACCEPTED, None))
        elif (log := _closed(execution.log, one, pieces, chunks)) is None:
            verdicts.append((Verdict.LOG_MISSING, None))
        else:
            _take_up(conn, execution, log, chunks)
            ended = known[one.attempt_id] = end(ledger, execution._replace(log=log), one.outcome, reported=True)
            verdicts.append((Verdict.ACCEPTED, Moved(ended.job, one.attempt_id)))
    conn.many(ADD_CHUNK, chunks)
    ledger.flush()
    return verdicts


def _take_up(conn: Connection, execution: Execution, log: Log, chunks: Sequence[Mapping[str, Any]]) -> None:
    """Tells the feed of the runner that the job is bound to what came in and what is left."""
    bound_to, attempt_id = execution.job.bound_to, execution.attempt.attempt_id
    if bound_to:
        mine = [chunk for chunk in chunks if chunk["attempt_id"] == attempt_id]
        runner_feed.output(conn, bound_to, execution.job.job_id, attempt_id, mine)
        runner_feed.rest(conn, bound_to, execution.job.job_id, attempt_id, records=log.next_sequence, at=conn.now())


def _closed(log: Log, one: Report, pieces: Sequence[Piece], chunks: list[dict[str, object]]) -> Log | None:
    """The log with the rest that the report brought, sealed; None when something is still missing."""
    log = replace(log)
    # A log that was sealed before is complete: what the report repeats is a duplicate.
    rows = log.extend(pieces) if log.state == 0 else []
    if one.seal is None:
        log.give_up()
    elif not log.close(one.seal):
        return None
    chunks += rows
    return log
