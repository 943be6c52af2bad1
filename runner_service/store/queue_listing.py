"""Lists of the jobs of queues, places in them, and how long jobs waited."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, literal_column, or_, select

from runner_service.domain.jobs import JobState
from runner_service.domain.queues import ORIGIN, Found, Search, states_of, word_of
from runner_service.store import queues
from runner_service.store.schema import job_tags, jobs, queue_jobs
from runner_service.store.statements import Connection, Query, among, integer, string, word

# Reads jobs_queue and the key of queue_jobs.
POSITION = Query(
    select(func.count())
    .select_from(jobs)
    .join(queue_jobs, queue_jobs.c.job_id == jobs.c.job_id)
    .where(
        literal_column("state") == word("QUEUED"),
        queue_jobs.c.queue == string("queue"),
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
# Reads queue_jobs_of_queue, and of jobs the rows of the queue: some thousands, while retention lets them go.
WAITS = Query(
    select(jobs.c.started_at - jobs.c.created_at)
    .select_from(queue_jobs)
    .join(jobs, jobs.c.job_id == queue_jobs.c.job_id)
    .where(queue_jobs.c.queue == string("queue"), jobs.c.started_at.is_not(None))
    .order_by(jobs.c.started_at.desc())
    .limit(integer("limit"))
)
QUEUES = Query(select(queue_jobs.c.queue).distinct())


# Walks the partial index of waiting jobs and the one of states, not the jobs that have ended.
COUNTS = Query(
    select(queue_jobs.c.queue, jobs.c.state, func.count())
    .select_from(jobs)
    .join(queue_jobs, queue_jobs.c.job_id == jobs.c.job_id)
    .where(jobs.c.origin == string("origin"), among(jobs.c.state, "states"))
    .group_by(queue_jobs.c.queue, jobs.c.state)
)


def counts(conn: Connection) -> Mapping[str, tuple[int, int]]:
    states = conn.array([state.value for state in JobState if not state.terminal])
    found: dict[str, tuple[int, int]] = {}
    for queue, state, count in conn.all(COUNTS, {"origin": ORIGIN, "states": states}):
        waiting, running = found.get(queue, (0, 0))
        runs = state == JobState.RUNNING.value
        found[queue] = (waiting, running + count) if runs else (waiting + count, running)
    return found


def position(conn: Connection, job_id: str) -> int:
    found = queues.get(conn, job_id)
    job = found.job
    if job.state is not JobState.QUEUED:
        return 0
    values = {"queue": found.queue, "priority": job.priority, "created_at": job.created_at, "job_id": job_id}
    row = conn.one(POSITION, values)
    return int(row[0]) if row else 0


@functools.lru_cache(maxsize=64)
def _search(tags: int, every: bool, states: bool, queue: bool) -> Query:
    found = (
        select(jobs.c.job_id, queue_jobs.c.queue, jobs.c.created_at, jobs.c.state, jobs.c.cancel, queue_jobs.c.phase)
        .select_from(queue_jobs)
        .join(jobs, jobs.c.job_id == queue_jobs.c.job_id)
    )
    tagged = [
        jobs.c.job_id.in_(select(job_tags.c.job_id).where(job_tags.c.name == string(f"tag_{place}")))
        for place in range(tags)
    ]
    if tagged:
        found = found.where(*tagged) if every else found.where(or_(*tagged))
    if states:
        found = found.where(among(jobs.c.state, "states"))
    if queue:
        found = found.where(queue_jobs.c.queue == string("queue"))
    return Query(found.order_by(jobs.c.created_at, jobs.c.job_id))


def search(conn: Connection, wanted: Search) -> list[Found]:
    values: dict[str, Any] = {f"tag_{place}": tag for place, tag in enumerate(wanted.tags)}
    if wanted.words:
        values["states"] = conn.array(sorted(state.value for state in states_of(wanted.words)))
    if wanted.queue:
        values["queue"] = wanted.queue
    query = _search(len(wanted.tags), wanted.all_tags, bool(wanted.words), bool(wanted.queue))
    found = []
    for job_id, queue, created_at, state, cancel, phase in conn.all(query, values):
        running = state == JobState.RUNNING.value and cancel is None
        shown = word_of(JobState(state), cancel is not None, phase)
        one = Found(job_id=job_id, queue=queue, created_at=created_at, word=shown, running=running)
        if one.matches(wanted.words):
            found.append(one)
    return found[: wanted.limit]


def waits(conn: Connection, names: Sequence[str], limit: int) -> Mapping[str, Sequence[float]]:
    wanted = names or [queue for (queue,) in conn.all(QUEUES)]
    found = {
        queue: [wait_us / 1e6 for (wait_us,) in conn.all(WAITS, {"queue": queue, "limit": limit})] for queue in wanted
    }
    return {queue: times for queue, times in found.items() if times}
