"""Lists of jobs, newest first: a query for each shape of filter, compiled once."""

from __future__ import annotations

import functools
from typing import Any

from sqlalchemy import ColumnElement, and_, func, literal_column, or_, select, text

from runner_service.domain.errors import InvalidArgument
from runner_service.domain.ids import is_id
from runner_service.domain.jobs import Job
from runner_service.ports.store import JobFilter, JobPage
from runner_service.store import bodies
from runner_service.store.rows import JOB_COLUMNS, job_of
from runner_service.store.schema import job_tags, jobs
from runner_service.store.statements import Connection, Query, among, integer, string

_CONDITIONS: dict[str, ColumnElement[bool]] = {
    "origin": jobs.c.origin == string("origin"),
    "kinds": among(jobs.c.kind, "kinds"),
    "states": among(jobs.c.state, "states"),
    "cancelling": jobs.c.cancel.is_not(None),
    "not_cancelling": jobs.c.cancel.is_(None),
    "runner_id": jobs.c.runner_id == string("runner_id"),
    # The first names the index jobs_bound for a planner that knows no parameters.
    "bound_to": and_(literal_column("jobs.bound_to") != text("''"), jobs.c.bound_to == string("bound_to")),
    "created_since": jobs.c.created_at >= integer("created_since"),
    "created_before": jobs.c.created_at < integer("created_before"),
}
_AFTER = or_(
    jobs.c.created_at < integer("after_time"),
    and_(jobs.c.created_at == integer("after_time"), jobs.c.job_id < string("after_id")),
)
# SQLite finds the place in an index by the first, and the exact row by `_AFTER`.
_AFTER_HINT = jobs.c.created_at <= integer("after_time")


@functools.lru_cache(maxsize=256)
def _queries(conditions: frozenset[str], tags: int, after: bool) -> tuple[Query, Query]:
    """The page and the count.

    The page walks jobs_newest_of_origin (with an origin) or jobs_newest backwards and stops at the limit; nothing is
    sorted. The count of an origin, with or without states, reads only an index.
    """
    where = [_CONDITIONS[name] for name in sorted(conditions)]
    where += [
        jobs.c.job_id.in_(
            select(job_tags.c.job_id).where(
                job_tags.c.name == string(f"tag_name_{number}"), job_tags.c.value == string(f"tag_value_{number}")
            )
        )
        for number in range(tags)
    ]
    page = select(*JOB_COLUMNS).where(*where)
    if after:
        page = page.where(_AFTER_HINT, _AFTER)
    page = page.order_by(jobs.c.created_at.desc(), jobs.c.job_id.desc())
    page = page.limit(integer("limit")).offset(integer("offset"))
    return Query(page), Query(select(func.count()).select_from(jobs).where(*where))


def query_for(conn: Connection, filter: JobFilter, *, after: bool) -> tuple[Query, Query, dict[str, Any]]:
    """The page's query, the count's, and the values of the filter."""
    values: dict[str, Any] = {}
    conditions = set()
    for name in ("origin", "runner_id", "bound_to", "created_since", "created_before"):
        value = getattr(filter, name)
        if value is not None:
            conditions.add(name)
            values[name] = value
    for name in ("kinds", "states"):
        members = getattr(filter, name)
        if members:
            conditions.add(name)
            values[name] = conn.array(sorted(member.value for member in members))
    if filter.cancelling is not None:
        conditions.add("cancelling" if filter.cancelling else "not_cancelling")
    for number, (name, value) in enumerate(sorted(filter.tags.items())):
        values[f"tag_name_{number}"] = name
        values[f"tag_value_{number}"] = value
    page, count = _queries(frozenset(conditions), len(filter.tags), after)
    return page, count, values


def list_jobs(conn: Connection, filter: JobFilter, limit: int, offset: int, after: str) -> JobPage:
    page, count, values = query_for(conn, filter, after=bool(after))
    place = dict(zip(("after_time", "after_id"), _read_place(after), strict=True)) if after else {}
    counted = conn.one(count, values)
    # One more than asked for tells whether there is a next page.
    size = limit + 1 if limit else 2**62
    rows = conn.all(page, {**values, **place, "limit": size, "offset": offset})
    more = bool(limit) and len(rows) > limit
    if more:
        rows = rows[:limit]
    found = bodies.load(conn, [row[0] for row in rows])
    listed = tuple(job_of(row, found[row[0]]) for row in rows)
    return JobPage(jobs=listed, total=counted[0] if counted else 0, next_after=_write_place(listed[-1]) if more else "")


def _write_place(job: Job) -> str:
    return f"{job.created_at:x}.{job.job_id}"


def _read_place(after: str) -> tuple[int, str]:
    time, dot, job_id = after.partition(".")
    try:
        created_at = int(time, 16)
    except ValueError:
        created_at = -1
    if not dot or not 0 <= created_at < 2**63 or not is_id(job_id):
        raise InvalidArgument(field="after", problem="it is not the end of a page of this list")
    return created_at, job_id
