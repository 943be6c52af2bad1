"""The events of jobs, in commit order."""

from __future__ import annotations

from sqlalchemy import func, select

from runner_service.domain.jobs import JobEvent, JobState
from runner_service.store.schema import job_events
from runner_service.store.statements import Connection, Query, integer, string

ENDLESS = 2**63 - 1

# The first walks the primary key, the second job_events_of_job: both stop at the limit.
_EVENTS = (
    select(
        job_events.c.sequence,
        job_events.c.job_id,
        job_events.c.at,
        job_events.c.state,
        job_events.c.kind,
        job_events.c.attempt_id,
        job_events.c.detail,
    )
    .where(job_events.c.sequence > integer("after"), job_events.c.sequence <= integer("settled"))
    .order_by(job_events.c.sequence)
    .limit(integer("limit"))
)
EVENTS = Query(_EVENTS)
EVENTS_OF_JOB = Query(_EVENTS.where(job_events.c.job_id == string("job_id")))
LAST_EVENT = Query(select(func.max(job_events.c.sequence)).where(job_events.c.sequence <= integer("settled")))


def events(conn: Connection, after: int, limit: int, job_id: str | None) -> tuple[list[JobEvent], bool]:
    """The events, and whether there were none that had to be left out for now."""
    settled, everything = conn.settled()
    values = {"after": after, "settled": ENDLESS if settled is None else settled, "limit": limit}
    rows = conn.all(EVENTS, values) if job_id is None else conn.all(EVENTS_OF_JOB, {**values, "job_id": job_id})
    found = [
        JobEvent(
            sequence=row[0],
            job_id=row[1],
            at=row[2],
            state=JobState(row[3]),
            kind=row[4],
            attempt_id=row[5],
            detail=row[6],
        )
        for row in rows
    ]
    return found, everything


def last_event(conn: Connection) -> tuple[int, bool]:
    """The newest sequence, and whether there is none behind it that had to be left out for now."""
    settled, everything = conn.settled()
    row = conn.one(LAST_EVENT, {"settled": ENDLESS if settled is None else settled})
    return int(row[0] or 0) if row else 0, everything
