"""Lists of runners, and what their jobs add up to."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, exists, func, literal_column, or_, select, text
from sqlalchemy.sql.selectable import NamedFromClause

from runner_service.domain.ids import is_id
from runner_service.domain.jobs import JobState
from runner_service.ports.store.runners import RunnerFilter, RunnerPage, Statistics, Tally
from runner_service.store import runners as rows
from runner_service.store.schema import jobs, runner_tags, runners
from runner_service.store.statements import Connection, Query, among, integer, number, string, word

# Reads nothing but the primary key.
TAGGED = Query(select(func.count()).where(runner_tags.c.tag == string("tag_0")))


@functools.lru_cache(maxsize=64)
def _queries(state: bool, kind: bool, tags: int) -> tuple[Query, Query]:
    """Without tags the page walks runners_by_state, runners_by_kind or runners_by_age; with tags the primary key of the
    first of them, and each runner of it is looked up for the others. It stops at the limit; nothing is sorted."""
    where = [runners.c[name] == string(name) for name, wanted in (("state", state), ("kind", kind)) if wanted]
    columns = select(*rows.RUNNER_COLUMNS)
    if not tags:
        page = columns.where(*where).order_by(runners.c.registered_at, runners.c.runner_id)
        count = select(func.count()).select_from(runners).where(*where)
    else:
        joined = runner_tags.join(runners, runners.c.runner_id == runner_tags.c.runner_id)
        first = runner_tags.c.tag == string("tag_0")
        others = [(runner_tags.alias(f"other_{place}"), f"tag_{place}") for place in range(1, tags)]
        page = columns.select_from(joined).where(first, *where, *(_walked(*other) for other in others))
        page = page.order_by(runner_tags.c.registered_at, runner_tags.c.runner_id)
        count = select(func.count()).select_from(joined if where else runner_tags)
        count = count.where(first, *where, *(_counted_in(*other) for other in others))
    return Query(page.limit(integer("limit")).offset(integer("offset"))), Query(count)


def _walked(other: NamedFromClause, tag: str) -> ColumnElement[bool]:
    """The runner of a row of runner_tags has this tag too: one look at the primary key for each row.

    Not EXISTS, of which PostgreSQL makes a join of everything, sorted, since it takes what is always equal together
    for a coincidence.
    """
    same = (other.c.registered_at == runner_tags.c.registered_at) & (other.c.runner_id == runner_tags.c.runner_id)
    found = select(number(1)).where(other.c.tag == string(tag), same)
    return found.correlate(runner_tags).scalar_subquery().is_not(None)


def _counted_in(other: NamedFromClause, tag: str) -> ColumnElement[bool]:
    """The same for a count: a join of everything is what is wanted then."""
    return exists().where(other.c.tag == string(tag), other.c.runner_id == runner_tags.c.runner_id)


def query_for(filter: RunnerFilter) -> tuple[Query, Query, dict[str, Any]]:
    """The page's query, the count's, and the values of the filter."""
    values: dict[str, Any] = {f"tag_{place}": tag for place, tag in enumerate(filter.tags)}
    if filter.state is not None:
        values["state"] = filter.state.value
    if filter.kind is not None:
        values["kind"] = filter.kind.value
    page, count = _queries(filter.state is not None, filter.kind is not None, len(filter.tags))
    return page, count, values


def _rarest_first(conn: Connection, tags: Sequence[str]) -> tuple[str, ...]:
    """The tags once each, in the order in which fewest runners have to be looked at."""
    different = tuple(dict.fromkeys(tags))
    if len(different) < 2:
        return different
    return tuple(sorted(different, key=lambda tag: _counted(conn, TAGGED, {"tag_0": tag})))


def find(conn: Connection, filter: RunnerFilter, limit: int, offset: int) -> RunnerPage:
    page, count, values = query_for(replace(filter, tags=_rarest_first(conn, filter.tags)))
    found = [rows.runner_of(row) for row in conn.all(page, {**values, "limit": limit or 2**62, "offset": offset})]
    return RunnerPage(
        runners=tuple(found),
        profiles=rows.profiles(conn, [runner.runner_id for runner in found]),
        total=_counted(conn, count, values),
    )


# Reads nothing but jobs_bound_by_state.
QUEUED = Query(
    select(jobs.c.bound_to, func.count())
    .where(
        literal_column("jobs.bound_to") != text("''"),
        among(jobs.c.bound_to, "runner_ids"),
        jobs.c.state == word(JobState.QUEUED.value),
    )
    .group_by(jobs.c.bound_to)
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


def _counted(conn: Connection, query: Query, values: Mapping[str, Any]) -> int:
    row = conn.one(query, values)
    return int(row[0]) if row else 0


def tallies(conn: Connection, runner_ids: Sequence[str]) -> Mapping[str, Tally]:
    active = rows.active_of(conn, runner_ids)
    queued = {row[0]: int(row[1]) for row in conn.all(QUEUED, {"runner_ids": conn.array(runner_ids)})}
    return {
        runner_id: Tally(active=active.get(runner_id, 0), queued=queued.get(runner_id, 0)) for runner_id in runner_ids
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
