"""Runners on their way to another state, and runners that go."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import delete, literal_column, or_, select, text

from runner_service.domain.errors import RunnerBusy
from runner_service.domain.jobs import AttemptState, Cancel, Job
from runner_service.domain.outcomes import Outcome, OutcomeKind
from runner_service.domain.runner_health import Check, HealthReport
from runner_service.domain.runners import MOVING, Runner, RunnerState, Told, runner_transition, settled
from runner_service.ports.store import Mark
from runner_service.ports.store.runners import Advance
from runner_service.store import (
    answers,
    dispatch,
    reports,
    runner_events,
    runner_feed,
    runners,
    samples,
    worker_credentials,
)
from runner_service.store import jobs as job_rows
from runner_service.store.ledger import Ledger
from runner_service.store.reports import EXECUTION, Execution, executions_of
from runner_service.store.schema import attempts, jobs, runner_checks, runner_profiles
from runner_service.store.schema import runners as table
from runner_service.store.statements import Connection, Query, integer, number, string, word

_encode = json.JSONEncoder(separators=(",", ":")).encode
_SELECT = select(*runners.RUNNER_COLUMNS)
# Reads runners_by_state: a handful, however many there are.
ON_THEIR_WAY = Query(
    _SELECT.where(or_(*(table.c.state == word(state.value) for state in sorted(MOVING))))
    .order_by(table.c.runner_id)
    .with_for_update(skip_locked=True)
)
# Walks the whole table, which no index would spare without costing every Sync more.
SILENT = Query(
    _SELECT.where(
        table.c.hosted == number(0),
        table.c.last_seen_at > number(0),
        table.c.last_seen_at < integer("before"),
        table.c.state != word("INACTIVE"),
        table.c.state != word("ERROR"),
    )
    .order_by(table.c.runner_id)
    .with_for_update(skip_locked=True)
)
_ACTIVE = literal_column("attempts.state") != word("FINISHED")
BOUND = Query(
    EXECUTION.where(
        _ACTIVE, literal_column("attempts.bound_to") != text("''"), attempts.c.bound_to == string("runner_id")
    )
    .order_by(jobs.c.job_id)
    .with_for_update(of=[jobs, attempts])
)
OWN = Query(
    EXECUTION.where(_ACTIVE, attempts.c.runner_id == string("runner_id"), attempts.c.bound_to == text("''"))
    .order_by(jobs.c.job_id)
    .with_for_update(of=[jobs, attempts])
)
# Reads jobs_bound_by_state.
QUEUED = Query(
    select(jobs.c.job_id).where(
        literal_column("jobs.bound_to") != text("''"),
        jobs.c.bound_to == string("runner_id"),
        jobs.c.state == word("QUEUED"),
    )
)
CHECK = Query(
    select(runner_checks.c.number, runner_checks.c.at, runner_checks.c.report).where(
        runner_checks.c.runner_id == string("runner_id")
    )
)
SAVE_CHECK = Query(
    text(
        "INSERT INTO runner_checks (runner_id, number, at, report) VALUES (:runner_id, :number, :at, :report)"
        " ON CONFLICT (runner_id) DO UPDATE SET number = :number, at = :at, report = :report"
        " WHERE runner_checks.number <= :number"
    )
)
DROPS = tuple(
    Query(delete(each).where(each.c.runner_id == string("runner_id")))
    for each in (runner_checks, runner_profiles, table)
)


def advance(conn: Connection, silence_seconds: float) -> Advance:
    now = conn.now()
    moving = [runners.runner_of(row) for row in conn.all(ON_THEIR_WAY)]
    silent = [runners.runner_of(row) for row in conn.all(SILENT, {"before": now - round(silence_seconds * 1e6)})]
    executions = {runner.runner_id: _executions(conn, runner.runner_id) for runner in moving}
    # Everything is locked: now changes, whose events are the last lock.
    moved: list[str] = []
    released: list[str] = []
    overdue: list[str] = []
    ledger = Ledger(conn, now)
    for runner in moving:
        live = []
        for execution in executions[runner.runner_id]:
            if execution.attempt.state is AttemptState.ASSIGNED:
                dispatch.release(ledger, execution.job, "drained")
                released.append(execution.job.job_id)
            else:
                live.append(execution.job)
        after = _arrived(conn, runner, len(live), now)
        if after is not None:
            runners.save_told(conn, runner, after, now, after.told.reason or runner.told.reason)
            moved.append(runner.runner_id)
        elif runner.told.cancel_at and runner.told.cancel_at <= now:
            overdue += [job.job_id for job in live if job.cancel is None]
    ledger.flush()
    for runner in silent:
        if runner.runner_id in executions:
            continue
        after = runner_transition(runner, RunnerState.ERROR, at=now)
        runners.save_told(conn, runner, after, now, "not heard of any more")
        moved.append(runner.runner_id)
    return Advance(moved=tuple(moved), released=tuple(released), overdue=tuple(overdue))


def _arrived(conn: Connection, runner: Runner, active: int, now: int) -> Runner | None:
    _, paused = runners.sync_of(conn, runner.runner_id)
    to = settled(runner, active=active, paused=paused, session_id=runner.session_id, now=now)
    if to is not None:
        return runner_transition(runner, to, at=now, told=Told(paused=runner.told.paused, check=runner.told.check))
    if runner.told.settle_by and runner.told.settle_by <= now and not active:
        told = replace(runner.told, settle_by=0, cancel_at=0, reason="its worker did not come")
        return runner_transition(runner, RunnerState.ERROR, at=now, told=told)
    return None


def _executions(conn: Connection, runner_id: str) -> list[Execution]:
    rows = [*conn.all(BOUND, {"runner_id": runner_id}), *conn.all(OWN, {"runner_id": runner_id})]
    return executions_of(conn, rows)


def drop(conn: Connection, runner_id: str, force: bool, by: str, mark: Mark | None) -> list[Job]:
    if (known := answers.known(conn, mark)) is not None:
        return [job_rows.get(conn, job_id) for job_id in known.split()]
    runner = runners.get(conn, runner_id, lock=True)
    executions = _executions(conn, runner_id)
    queued = [row[0] for row in conn.all(QUEUED, {"runner_id": runner_id})]
    if not force and (executions or queued):
        raise RunnerBusy(runner_id=runner_id, active_jobs=len(executions) + len(queued))
    reason = "its runner was deleted"
    cancelled = [job_rows.cancel(conn, job_id, by, reason) for job_id in queued]
    now = conn.now()
    ledger = Ledger(conn, now)
    for execution in executions:
        job = execution.job
        if execution.attempt.state is AttemptState.ASSIGNED or execution.attempt.runner_id != runner_id:
            # Somebody else's worker has it, and will report.
            cancelled.append(job if job.cancel is not None else job_rows.cancel(conn, job.job_id, by, reason))
            continue
        outcome = Outcome(kind=OutcomeKind.CANCELLED, detail=by, message=reason)
        job = replace(job, cancel=job.cancel or Cancel(at=now, by=by, reason=reason))
        cancelled.append(reports.give_up(conn, ledger, execution._replace(job=job), outcome).job)
    ledger.flush()
    runner_events.record(conn, runner_id, now, "deleted", state=None, old_state=runner.state, detail=runner.name)
    runner_feed.drop_runner(conn, runner_id)
    conn.run(samples.DROP_RUNNER, {"runner_id": runner_id})
    conn.run(runners.DROP_TAGS, {"runner_id": runner_id})
    conn.run(worker_credentials.DROP_RUNNER, {"runner_id": runner_id})
    for query in DROPS:
        conn.run(query, {"runner_id": runner_id})
    answers.note(conn, mark, " ".join(job.job_id for job in cancelled))
    return cancelled


def check(conn: Connection, runner_id: str) -> tuple[int, HealthReport | None]:
    row = conn.one(CHECK, {"runner_id": runner_id})
    if row is None:
        return 0, None
    checks = {name: Check(**value) for name, value in json.loads(row[2]).items()}
    return int(row[0]), HealthReport(checks=checks, at=row[1])


def save_check(conn: Connection, runner_id: str, check_number: int, report: HealthReport) -> None:
    text: dict[str, Any] = {
        name: {key: value for key, value in asdict(each).items() if value is not None}
        for name, each in report.checks.items()
    }
    values = {"runner_id": runner_id, "number": check_number, "at": conn.now(), "report": _encode(text)}
    conn.run(SAVE_CHECK, values)
