"""Jobs of lab queues: pushed, popped under a lease, and given up when the lease runs out.

A push is a `jobs.create`, a pop a `claims.claim` with its confirmation in the same transaction: priority, age and the
promise that nobody gets the same job are those of every claim.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import func, insert, null, select, update

from runner_service.domain.dispatch import Want
from runner_service.domain.errors import JobExists, JobFinished, JobNotFound, RunnerError
from runner_service.domain.ids import is_id
from runner_service.domain.jobs import AttemptState, Job, JobState, transition
from runner_service.domain.outcomes import Outcome, OutcomeKind
from runner_service.domain.queues import (
    Attachments,
    NewQueueJob,
    PopRequest,
    QueueJob,
    agent_runner_id,
    label_of,
    labels_for,
)
from runner_service.ports.store import Mark
from runner_service.store import answers, claims
from runner_service.store import jobs as job_rows
from runner_service.store.dispatch import EXPIRED, confirm
from runner_service.store.ledger import Ledger
from runner_service.store.logs import LogState
from runner_service.store.reports import EXECUTION, Execution, executions_of, give_up
from runner_service.store.schema import attempts, jobs, lab_agents, queue_jobs
from runner_service.store.statements import Connection, Query, Row, among, integer, number, string

NEVER = 2**62
"""``not_before`` of a job that waits for its attachments."""
MOST_ATTEMPTS = 3
"""A job whose agents are lost is given out this often."""
GIVEN_BACK = Outcome(kind=OutcomeKind.INFRASTRUCTURE, detail="given_back", message="Its agent put it back.")

_COLUMNS = (
    queue_jobs.c.queue,
    queue_jobs.c.definition,
    queue_jobs.c.client_id,
    queue_jobs.c.agent,
    queue_jobs.c.phase,
    queue_jobs.c.attachments,
    queue_jobs.c.popped_at,
    queue_jobs.c.lease_until,
    queue_jobs.c.peer,
)
ADD = Query(insert(queue_jobs), columns=[column.name for column in queue_jobs.c if column.name != "pop_key"])
KNOWN = Query(select(jobs.c.job_id).where(among(jobs.c.job_id, "job_ids")))
_OF_JOB = queue_jobs.c.job_id == string("job_id")
ONE = Query(select(*_COLUMNS).where(_OF_JOB))
POP = Query(
    update(queue_jobs)
    .values(
        agent=string("agent"),
        phase=string("phase"),
        lease_us=func.coalesce(integer("lease_us"), queue_jobs.c.lease_us),
        lease_until=integer("now") + func.coalesce(integer("lease_us"), queue_jobs.c.lease_us),
        popped_at=func.coalesce(queue_jobs.c.popped_at, integer("now")),
        wait_us=func.coalesce(queue_jobs.c.wait_us, integer("wait_us")),
        pop_key=string("pop_key"),
        peer=string("peer"),
    )
    .where(_OF_JOB)
)
POPPED = Query(select(queue_jobs.c.job_id).where(queue_jobs.c.pop_key == string("pop_key")))
LET_GO = Query(update(queue_jobs).values(lease_until=null(), phase=string("phase")).where(_OF_JOB))
_RENEW = (
    update(queue_jobs)
    .values(lease_until=integer("now") + queue_jobs.c.lease_us)
    .where(queue_jobs.c.lease_until.is_not(None))
)
RENEW_ALL = Query(_RENEW)
RENEW = Query(_RENEW.where(_OF_JOB))
MOVE_ON = Query(_RENEW.values(phase=string("phase")).where(_OF_JOB))
RENEW_OWN = Query(_RENEW.where(_OF_JOB, queue_jobs.c.agent == string("agent")))
SET_LEASE = Query(update(queue_jobs).values(lease_us=integer("lease_us")).where(_OF_JOB))
SET_ATTACHMENTS = Query(update(queue_jobs).values(attachments=string("attachments")).where(_OF_JOB))
HOLD = Query(update(jobs).values(not_before=integer("not_before")).where(jobs.c.job_id == string("job_id")))
NEWEST = Query(
    EXECUTION.where(jobs.c.job_id == string("job_id"), attempts.c.attempt_id == jobs.c.attempt_id).with_for_update(
        of=[jobs, attempts]
    )
)
# Walks queue_jobs_leases.
OVERDUE = Query(
    EXECUTION.join(queue_jobs, queue_jobs.c.job_id == jobs.c.job_id)
    .where(
        queue_jobs.c.lease_until.is_not(None),
        queue_jobs.c.lease_until <= integer("now"),
        attempts.c.attempt_id == jobs.c.attempt_id,
    )
    .order_by(jobs.c.job_id)
    .limit(number(100))
    .with_for_update(of=[jobs, attempts, queue_jobs], skip_locked=True)
)
LOSE_AGENT = Query(update(lab_agents).values(lost=number(1)).where(lab_agents.c.name == string("agent")))


class Push(NamedTuple):
    """What `push_all` is asked for."""

    new: NewQueueJob
    queue_limit: int


def lock_of(job_id: str) -> int:
    """What serializes all that is posted about one id."""
    return int.from_bytes(hashlib.blake2b(job_id.encode(), digest_size=8, person=b"lab").digest(), "big", signed=True)


def queue_job_of(job: Job, row: Row) -> QueueJob:
    """A queue's job from `_COLUMNS`."""
    return QueueJob(
        job=job,
        queue=row[0],
        definition=row[1],
        client_id=row[2],
        agent=row[3],
        phase=row[4],
        attachments=Attachments(row[5]),
        popped_at=row[6],
        lease_until=row[7],
        peer=row[8],
    )


def get(conn: Connection, job_id: str, *, lock: bool = False) -> QueueJob:
    job = job_rows.get(conn, job_id, lock=lock)
    row = conn.one(ONE, {"job_id": job_id})
    if row is None:
        raise JobNotFound(job_id=job_id)
    return queue_job_of(job, row)


def execution(conn: Connection, job_id: str) -> Execution:
    """The newest attempt of a job that has one, locked with it."""
    (found,) = executions_of(conn, conn.all(NEWEST, {"job_id": job_id}))
    return found


def push_all(conn: Connection, pushes: Sequence[Push]) -> list[tuple[QueueJob, bool] | RunnerError]:
    """Stores jobs in order; a refused one leaves the others alone."""
    conn.serialize(job_rows.CREATE_LOCK)
    ids = dict.fromkeys(new.job.job_id for new, _ in pushes)
    known = {job_id for (job_id,) in conn.all(KNOWN, {"job_ids": conn.array(ids)})}
    fresh: list[tuple[int, Push]] = []
    again: list[tuple[int, str]] = []
    for index, push in enumerate(pushes):
        job_id = push.new.job.job_id
        if job_id in known:
            again.append((index, job_id))
        else:
            known.add(job_id)
            fresh.append((index, push))
    answers: dict[int, tuple[QueueJob, bool] | RunnerError] = {}
    created = job_rows.create(conn, [job_rows.NewJob(_held(new), "", limit) for _, (new, limit) in fresh])
    rows: list[dict[str, Any]] = []
    for (index, push), made in zip(fresh, created, strict=True):
        if isinstance(made, RunnerError):
            answers[index] = made
            continue
        values = _values(push.new)
        rows.append(values)
        answers[index] = (queue_job_of(made[0], [values[column.name] for column in _COLUMNS]), True)
    conn.many(ADD, rows)
    for index, job_id in again:
        answers[index] = _push_again(conn, job_id, give_back=pushes[index].new.give_back)
    return [answers[index] for index in range(len(pushes))]


def _held(new: NewQueueJob) -> Job:
    return replace(new.job, not_before=NEVER) if new.attachments is Attachments.WAITING else new.job


def _values(new: NewQueueJob) -> dict[str, Any]:
    return {
        "job_id": new.job.job_id,
        "queue": new.queue,
        "client_id": new.client_id,
        "agent": "",
        "phase": "",
        "attachments": new.attachments.value,
        "lease_us": round(new.lease_seconds * 1e6),
        "lease_until": None,
        "popped_at": None,
        "wait_us": None,
        "definition": new.definition,
        "peer": "",
    }


def _push_again(conn: Connection, job_id: str, *, give_back: bool) -> tuple[QueueJob, bool] | RunnerError:
    try:
        found = get(conn, job_id, lock=True)
    except JobNotFound:
        return JobExists(job_id=job_id)
    if found.ended:
        return JobFinished(job_id=job_id, state=found.word)
    if give_back and found.lease_until is not None:
        # Its agent gives it up. A runner of our own has no lease here, and keeps it.
        ledger = Ledger(conn, conn.now())
        job = wait_again(conn, ledger, execution(conn, job_id), GIVEN_BACK)
        ledger.flush()
        found = replace(found, job=job, phase="", lease_until=None)
    return found, False


def wait_again(conn: Connection, ledger: Ledger, held: Execution, why: Outcome) -> Job:
    """Ends the attempt of an agent and lets its job wait for the next one. The caller flushes the ledger."""
    queued = transition(held.job, JobState.QUEUED, at=ledger.now, not_before=0)
    ledger.moved(held.job, queued, "requeued", why.words)
    ended = replace(held.attempt, state=AttemptState.FINISHED, finished_at=ledger.now, outcome=why)
    close_log(held, complete=False)
    ledger.end_attempt(ended, held.log, reported=False)
    conn.run(LET_GO, {"job_id": queued.job_id, "phase": ""})
    return queued


def close_log(held: Execution, *, complete: bool) -> None:
    """Seals the log of an agent's attempt: what was posted is what there is."""
    if held.log.state == LogState.OPEN:
        held.log.state = LogState.COMPLETE if complete else LogState.INCOMPLETE


def pop_all(conn: Connection, wanted: Sequence[PopRequest]) -> list[QueueJob | None]:
    """One job, or none, for each."""
    answers = [_popped(conn, one.key) for one in wanted]
    fresh = [index for index, answer in enumerate(answers) if answer is None]
    given = claims.claim(conn, [_want(wanted[index]) for index in fresh])
    now = conn.now()
    ledger = Ledger(conn, now)
    for index, assignments in zip(fresh, given, strict=True):
        if not assignments:
            continue
        one, (assignment,) = wanted[index], assignments
        job = confirm(ledger, assignment.job, assignment.attempt)
        lease_us = None if one.lease_seconds is None else round(one.lease_seconds * 1e6)
        values = {"job_id": job.job_id, "agent": one.agent, "phase": "", "now": now, "lease_us": lease_us}
        values["peer"] = one.peer
        conn.run(POP, {**values, "wait_us": now - job.created_at, "pop_key": one.key or None})
        row = conn.one(ONE, {"job_id": job.job_id})
        assert row is not None
        answers[index] = queue_job_of(job, row)
    ledger.flush()
    return answers


def _want(one: PopRequest) -> Want:
    return Want(
        runner_id=agent_runner_id(one.agent),
        labels=labels_for(one.queues, one.agent),
        count=1,
        only=frozenset(map(label_of, one.queues)),
    )


def _popped(conn: Connection, key: str) -> QueueJob | None:
    """What a request popped before."""
    row = conn.one(POPPED, {"pop_key": key}) if key else None
    return get(conn, row[0]) if row is not None else None


def renew(
    conn: Connection, job_id: str, agent: str | None, lease_seconds: float | None, mark: Mark | None = None
) -> None:
    if answers.known(conn, mark) is not None:
        return
    answers.note(conn, mark)
    if lease_seconds is not None:
        conn.run(SET_LEASE, {"job_id": job_id, "lease_us": round(lease_seconds * 1e6)})
    values = {"job_id": job_id, "now": conn.now()}
    conn.run(*((RENEW, values) if agent is None else (RENEW_OWN, {**values, "agent": agent})))


def renew_all(conn: Connection) -> None:
    conn.run(RENEW_ALL, {"now": conn.now()})


def set_attachments(conn: Connection, job_id: str, state: Attachments) -> None:
    job = job_rows.get(conn, job_id, lock=True) if is_id(job_id) else None
    if job is not None and job.state is JobState.QUEUED:
        conn.run(SET_ATTACHMENTS, {"job_id": job_id, "attachments": state.value})
        conn.run(HOLD, {"job_id": job_id, "not_before": NEVER if state is Attachments.WAITING else 0})


def expire(conn: Connection, requeue: bool) -> list[QueueJob]:
    now = conn.now()
    ledger = Ledger(conn, now)
    lost = []
    for held in executions_of(conn, conn.all(OVERDUE, {"now": now})):
        row = conn.one(ONE, {"job_id": held.job.job_id})
        assert row is not None
        before = queue_job_of(held.job, row)
        lost.append(before)
        if requeue and held.job.cancel is None and held.job.attempts < MOST_ATTEMPTS:
            wait_again(conn, ledger, held, EXPIRED)
        else:
            give_up(conn, ledger, held, EXPIRED)
            conn.run(LET_GO, {"job_id": held.job.job_id, "phase": before.phase})
        conn.run(LOSE_AGENT, {"agent": before.agent})
    ledger.flush()
    return lost
