"""Deleting what has outlived its time, in pieces that nobody waits long behind."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select

from runner_service.store import runner_feed
from runner_service.store.schema import (
    agents,
    attempts,
    input_records,
    input_writers,
    inputs,
    job_bodies,
    job_events,
    job_tags,
    jobs,
    log_archives,
    queue_jobs,
    requests,
)
from runner_service.store.statements import Connection, Query, among, integer

# Walks the index jobs_finished from its old end.
FINISHED = Query(
    select(jobs.c.job_id)
    .where(jobs.c.finished_at.is_not(None), jobs.c.finished_at < integer("before"))
    .order_by(jobs.c.finished_at)
    .limit(integer("limit"))
)
ATTEMPTS_OF = Query(select(attempts.c.attempt_id).where(among(attempts.c.job_id, "job_ids")))
BLOBS_OF = Query(select(log_archives.c.blob_key).where(among(log_archives.c.attempt_id, "attempt_ids")))
DROP_ARCHIVES = Query(delete(log_archives).where(among(log_archives.c.attempt_id, "attempt_ids")))
DROPS = tuple(
    Query(delete(table).where(among(table.c.job_id, "job_ids")))
    for table in (
        agents,
        job_events,
        job_tags,
        requests,
        input_records,
        input_writers,
        inputs,
        attempts,
        queue_jobs,
        job_bodies,
        jobs,
    )
)


def expirable(conn: Connection, finished_before: int, limit: int) -> tuple[list[str], list[str]]:
    """Jobs to delete, and their attempts."""
    job_ids = [job_id for (job_id,) in conn.all(FINISHED, {"before": finished_before, "limit": limit})]
    rows = conn.all(ATTEMPTS_OF, {"job_ids": conn.array(job_ids)}) if job_ids else []
    return job_ids, [attempt_id for (attempt_id,) in rows]


def drop_jobs(conn: Connection, job_ids: Sequence[str], attempt_ids: Sequence[str]) -> list[str]:
    """Deletes jobs whose chunks are gone already; returns the keys of the blobs that nothing names any more."""
    values = {"attempt_ids": conn.array(attempt_ids)}
    keys = [key for (key,) in conn.all(BLOBS_OF, values)]
    conn.run(DROP_ARCHIVES, values)
    conn.run(runner_feed.DROP_JOBS, {"job_ids": conn.array(job_ids)})
    for drop in DROPS:
        conn.run(drop, {"job_ids": conn.array(job_ids)})
    conn.reclaim()
    return keys
