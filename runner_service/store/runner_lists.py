"""Lists of runners, and what their jobs add up to."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import func, literal_column, or_, select, text

from runner_service.domain.ids import is_id
from runner_service.domain.jobs import JobState
from runner_service.ports.store.runners import RunnerFilter, RunnerPage, Statistics, Tally
from runner_service.store import runners as rows
from runner_service.store.schema import jobs, runner_tags, runners
from runner_service.store.statements import Connection, Query, integer, number, string, word


@functools.lru_cache(maxsize=64)
def _queries(state: bool, kind: bool, tags: int) -> tuple[Query, Query]:
    """The page walks runners_by_state, runners_by_kind or runners_by_age and stops at the limit; nothing is sorted."""
    where = []
    if state:
        where.append(runners.c.state == string("state"))
    if kind:
        where.append(runners.c.kind == string("kind"))
    where += [
        runners.c.runner_id.in_(select(runner_tags.c.runner_id).where(runner_tags.c.tag == string(f"tag_{place}")))
        for place in range(tags)
    ]
    page = select(*rows.RUNNER_COLUMNS).where(*where).order_by(runners.c.registered_at, runners.c.runner_id)
    page = page.limit(integer("limit")).offset(integer("offset"))
    return Query(page), Query(select(func.count()).select_from(runners).where(*where))


def query_for(filter: RunnerFilter) -> tuple[Query, Query, dict[str, Any]]:
    """The page's query, the count's, and the values of the filter."""
    values: dict[str, Any] = {f"tag_{place}": tag for place, tag in enumerate(filter.tags)}
    if filter.state is not None:
        values["state"] = filter.state.value
    if filter.kind is not None:
        values["kind"] = filter.kind.value
    page, count = _queries(filter.state is not None, filter.kind is not None, len(filter.tags))
    return page, count, values


def find(conn: Connection, filter: RunnerFilter, limit: int, offset: int) -> RunnerPage:
    page, count, values = query_for(filter)
    counted = conn.one(count, values)
    found = [rows.runner_of(row) for row in conn.all(page, {**values, "limit": limit or 2**62, "offset": offset})]
    return RunnerPage(
        runners=tuple(found),
        profiles=rows.profiles(conn, [runner.runner_id for runner in found]),
        total=int(counted[0]) if counted else 0,
    )


# Reads nothing but jobs_bound_by_state.
QUEUED = Query(
    select(func.count()).where(
        literal_column("jobs.bound_to") != text("''"),
        jobs.c.bound_to == string("runner_id"),
        jobs.c.state == word(JobState.QUEUED.value),
    )
)
_SUMS = (
    jobs.c.state,
    func.count(),
    func.coalesce(func.sum(jobs.c.finished_at - jobs.c.started_at), number(0)),
)
_ENDED = or_(*(jobs.c.state == word(state.value) for state in JobState if state.terminal))
# Read nothing but jobs_bound_by_state and jobs_ended_of_runner.
ENDED_BOUND = Query(
    select(*_SUMS)
    .where(
        literal_column("jobs.bound_to") != text("''"),
        jobs.c.bound_to == string("runner_id"),
        _ENDED,
        jobs.c.finished_at >= integer("since"),
    )
    .group_by(jobs.c.state)
)
ENDED_OWN = Query(
    select(*_SUMS)
    .where(
        literal_column("jobs.bound_to") == text("''"),
        jobs.c.finished_at.is_not(None),
        jobs.c.runner_id == string("runner_id"),
        _ENDED,
        jobs.c.finished_at >= integer("since"),
    )
    .group_by(jobs.c.state)
)
_FAILED = frozenset({JobState.FAILED.value, JobState.TIMED_OUT.value, JobState.LOST.value})


def _counted(conn: Connection, query: Query, runner_id: str) -> int:
    row = conn.one(query, {"runner_id": runner_id})
    return int(row[0]) if row else 0


def tallies(conn: Connection, runner_ids: Iterable[str]) -> Mapping[str, Tally]:
    return {
        runner_id: Tally(active=rows.active_of(conn, runner_id), queued=_counted(conn, QUEUED, runner_id))
        for runner_id in runner_ids
    }


def statistics(conn: Connection, runner_id: str, since: int) -> Statistics:
    if not is_id(runner_id):
        return Statistics()
    values = {"runner_id": runner_id, "since": since}
    succeeded = failed = micros = 0
    for state, count, took in [*conn.all(ENDED_BOUND, values), *conn.all(ENDED_OWN, values)]:
        if state == JobState.SUCCEEDED.value:
            succeeded += count
        elif state in _FAILED:
            failed += count
        else:
            continue
        micros += int(took)
    return Statistics(succeeded=succeeded, failed=failed, seconds=micros / 1e6)
