"""Jobs: making, reading and cancelling them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import func, insert, literal_column, or_, select

from runner_service.domain.errors import (
    AlreadyExists,
    AttemptNotFound,
    InvalidArgument,
    JobFinished,
    JobNotFound,
    QueueFull,
    RequestNotFound,
    RunnerError,
)
from runner_service.domain.ids import is_id
from runner_service.domain.jobs import Attempt, Cancel, Job, JobState, Stdin, queue_deadline, transition
from runner_service.domain.outcomes import Outcome, OutcomeKind
from runner_service.domain.records import changed
from runner_service.store import bodies
from runner_service.store.ledger import Ledger, queue_length
from runner_service.store.rows import (
    ATTEMPT_COLUMNS,
    JOB_COLUMNS,
    attempt_of,
    body_of,
    encode_body,
    job_of,
    job_values,
)
from runner_service.store.schema import attempts, inputs, job_bodies, job_tags, jobs, requests
from runner_service.store.statements import Connection, Query, integer, string, word

CREATE_LOCK = 0x52554E51
"""Creators go one after the other, so that the bound of the queue holds whatever many do at once."""

ADD_JOB = Query(insert(jobs))
ADD_BODY = Query(insert(job_bodies))
ADD_TAG = Query(insert(job_tags))
ADD_REQUEST = Query(insert(requests))
ADD_INPUT = Query(insert(inputs))
FIND_REQUEST = Query(
    select(requests.c.fingerprint, requests.c.job_id).where(
        requests.c.origin == string("origin"),
        requests.c.created_by == string("created_by"),
        requests.c.request_id == string("request_id"),
    )
)
_ONE = select(*JOB_COLUMNS).where(jobs.c.job_id == string("job_id"))
JOB = Query(_ONE)
LOCKED_JOB = Query(_ONE.with_for_update())
_ATTEMPT = select(*ATTEMPT_COLUMNS)
ATTEMPT = Query(_ATTEMPT.where(attempts.c.attempt_id == string("attempt_id")))
ATTEMPTS = Query(_ATTEMPT.where(attempts.c.job_id == string("job_id")).order_by(attempts.c.fence))
# Both read nothing but the index jobs_by_state.
_COUNT = select(jobs.c.state, func.count()).group_by(jobs.c.state)
COUNT = Query(_COUNT)
COUNT_OF_ORIGIN = Query(_COUNT.where(jobs.c.origin == string("origin")))
# Reads nothing but the index jobs_queue.
POSITION = Query(
    select(func.count()).where(
        literal_column("state") == word("QUEUED"),
        or_(
            jobs.c.priority > integer("priority"),
            (jobs.c.priority == integer("priority"))
            & (
                (jobs.c.created_at < integer("created_at"))
                | ((jobs.c.created_at == integer("created_at")) & (jobs.c.job_id < string("job_id")))
            ),
        ),
    )
)


class NewJob(NamedTuple):
    """What `create` is asked for."""

    job: Job
    fingerprint: str
    queue_limit: int


def create(conn: Connection, wanted: Sequence[NewJob]) -> list[tuple[Job, bool] | RunnerError]:
    """Stores new jobs in order; a refused one leaves the others alone."""
    conn.serialize(CREATE_LOCK)
    now = conn.now()
    ledger = Ledger(conn, now)
    answers: list[tuple[Job, bool] | RunnerError] = []
    made: list[tuple[Job, str]] = []
    known: dict[tuple[str, str, str], tuple[str, Job]] = {}
    length: int | None = None
    for job, fingerprint, limit in wanted:
        key = (job.origin, job.created_by, job.request_id)
        if job.request_id:
            earlier = known.get(key) or _find_request(conn, key)
            if earlier is not None:
                same = earlier[0] == fingerprint
                answers.append((earlier[1], False) if same else AlreadyExists(request_id=job.request_id))
                continue
        if job.state is JobState.QUEUED:
            if length is None:
                length = queue_length(conn)
            if length >= limit:
                answers.append(QueueFull(limit=limit))
                continue
            length += 1
            job = changed(job, created_at=now, queue_deadline=queue_deadline(job.spec, since=now))
        elif job.state.terminal:
            job = replace(job, created_at=now, finished_at=now)
        else:
            answers.append(InvalidArgument(field="state", problem="a new job is QUEUED or has ended"))
            continue
        made.append((job, fingerprint))
        known[key] = (fingerprint, job)
        ledger.created(job)
        answers.append((job, True))
    _insert(conn, made)
    ledger.flush()
    return answers


def _find_request(conn: Connection, key: tuple[str, str, str]) -> tuple[str, Job] | None:
    row = conn.one(FIND_REQUEST, dict(zip(("origin", "created_by", "request_id"), key, strict=True)))
    return (row[0], get(conn, row[1])) if row else None


def by_request(conn: Connection, key: tuple[str, str, str]) -> Job:
    found = _find_request(conn, key)
    if found is None:
        raise RequestNotFound(request_id=key[2])
    return found[1]


def _insert(conn: Connection, made: Sequence[tuple[Job, str]]) -> None:
    cache = bodies.cache_of(conn)
    texts = [{"job_id": job.job_id, "body": encode_body(job)} for job, _ in made]
    conn.many(ADD_JOB, [job_values(job) for job, _ in made])
    conn.many(ADD_BODY, texts)
    conn.many(
        ADD_TAG,
        [{"name": name, "value": value, "job_id": job.job_id} for job, _ in made for name, value in job.tags.items()],
    )
    conn.many(
        ADD_REQUEST,
        [
            {
                "origin": job.origin,
                "created_by": job.created_by,
                "request_id": job.request_id,
                "fingerprint": fingerprint,
                "job_id": job.job_id,
            }
            for job, fingerprint in made
            if job.request_id
        ],
    )
    # It must be kept for as long as there may be another attempt, which reads it from its start.
    conn.many(
        ADD_INPUT,
        [
            {
                "job_id": job.job_id,
                "next_offset": 0,
                "written_offset": 0,
                "fence": 0,
                "ended": 0,
                "kept": int(job.spec.max_attempts > 1),
            }
            for job, _ in made
            if job.spec.stdin is not Stdin.NULL
        ],
    )
    for (job, _), text in zip(made, texts, strict=True):
        cache.put(job.job_id, body_of(job), len(text["body"]))


def get(conn: Connection, job_id: str, *, lock: bool = False) -> Job:
    row = conn.one(LOCKED_JOB if lock else JOB, {"job_id": job_id}) if is_id(job_id) else None
    if row is None:
        raise JobNotFound(job_id=job_id)
    return job_of(row, bodies.load(conn, [job_id])[job_id])


def attempt(conn: Connection, attempt_id: str) -> Attempt:
    row = conn.one(ATTEMPT, {"attempt_id": attempt_id}) if is_id(attempt_id) else None
    if row is None:
        raise AttemptNotFound(attempt_id=attempt_id)
    return attempt_of(row)


def attempts_of(conn: Connection, job_id: str) -> list[Attempt]:
    return [attempt_of(row) for row in conn.all(ATTEMPTS, {"job_id": job_id})] if is_id(job_id) else []


def count(conn: Connection, origin: str | None) -> Mapping[JobState, int]:
    rows = conn.all(COUNT) if origin is None else conn.all(COUNT_OF_ORIGIN, {"origin": origin})
    return {JobState(state): number for state, number in rows}


def position(conn: Connection, job_id: str) -> int:
    job = get(conn, job_id)
    if job.state is not JobState.QUEUED:
        return 0
    values = {"priority": job.priority, "created_at": job.created_at, "job_id": job_id}
    row = conn.one(POSITION, values)
    return int(row[0]) if row else 0


def cancel(conn: Connection, job_id: str, by: str, reason: str) -> Job:
    job = get(conn, job_id, lock=True)
    if job.state.terminal:
        raise JobFinished(job_id=job_id, state=job.state)
    if job.cancel is not None:
        return job
    now = conn.now()
    ledger = Ledger(conn, now)
    accepted = Cancel(at=now, by=by, reason=reason)
    if job.state is JobState.RUNNING:
        after = ledger.moved(job, replace(job, cancel=accepted), "cancel_requested", by)
    else:
        # Nothing has started: there is nobody to wait for.
        attempt_id, runner_id = job.attempt_id, job.runner_id
        if job.state is JobState.ASSIGNED:
            attempt_id, runner_id = ledger.drop_attempt(job)
        outcome = Outcome(kind=OutcomeKind.CANCELLED, detail=by or "user", message=reason)
        ended = transition(
            job,
            JobState.CANCELLED,
            at=now,
            cancel=accepted,
            outcome=outcome,
            attempt_id=attempt_id,
            runner_id=runner_id,
        )
        after = ledger.moved(job, ended, "finished", outcome.words)
    ledger.flush()
    return after
