"""The plans by which ten thousand runners and a month of their metrics are read in milliseconds."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from runner_service.domain.runner_feed import FeedLevel
from runner_service.domain.runners import RunnerKind, RunnerState
from runner_service.ports.store import JobFilter, RunnerFilter
from runner_service.store import (
    claims,
    listing,
    open_store,
    runner_control,
    runner_events,
    runner_feed,
    runner_lists,
    runners,
    samples,
)
from runner_service.store.statements import Connection, Query

PAGE = {"limit": 9, "offset": 0}
ONE = {"runner_id": ""}
TIME = {**ONE, "since": 0, "until": 1}


def plan(conn: Connection, query: Query, values: dict[str, object]) -> str:
    """The plan of a query on SQLite, as one line per step."""
    rows = conn.all(Query(text("EXPLAIN QUERY PLAN " + query.text(conn.dialect).replace(":", "\\:"))), values)
    return "; ".join(row[3] for row in rows)


def found(conn: Connection) -> dict[str, str]:
    def runners_like(filter: RunnerFilter) -> tuple[str, str]:
        page, count, values = runner_lists.query_for(filter)
        return plan(conn, page, {**values, **PAGE}), plan(conn, count, values)

    everything, _ = runners_like(RunnerFilter())
    active, active_count = runners_like(RunnerFilter(state=RunnerState.ACTIVE))
    docker, _ = runners_like(RunnerFilter(kind=RunnerKind.DOCKER))
    jobs_page, jobs_count, values = listing.query_for(conn, JobFilter(bound_to="r"), after=False)
    newest = {**TIME, "below": 1, "limit": 9}
    return {
        "runners": everything,
        "runners by state": active,
        "count by state": active_count,
        "runners by kind": docker,
        "local": plan(conn, runners.LOCAL, {}),
        "active of bound": plan(conn, runners.ACTIVE_BOUND, ONE),
        "active of own": plan(conn, runners.ACTIVE_OWN, ONE),
        "active of hosted": plan(conn, claims.ACTIVE_OF, ONE),
        "queued": plan(conn, runner_lists.QUEUED, ONE),
        "ended of bound": plan(conn, runner_lists.ENDED_BOUND, {**ONE, "since": 0}),
        "ended of own": plan(conn, runner_lists.ENDED_OWN, {**ONE, "since": 0}),
        "moving": plan(conn, runner_control.ON_THEIR_WAY, {}),
        "jobs": plan(conn, jobs_page, {**values, **PAGE}),
        "count of jobs": plan(conn, jobs_count, values),
        "events": plan(conn, runner_events.EVENTS, {"after": 0, "limit": 9}),
        "feed": plan(conn, runner_feed.NEWEST[None], newest),
        "feed of a level": plan(conn, runner_feed.NEWEST[FeedLevel.ERROR], newest),
        "feed behind": plan(conn, runner_feed.BEHIND, {**ONE, "behind": 1, "limit": 9}),
        "totals of a feed": plan(conn, runner_feed.TOTALS, TIME),
        "open attempts": plan(conn, runner_feed.OPEN_ATTEMPTS, ONE),
        "samples": plan(conn, samples.READ, {**TIME, "width": 60}),
        "old samples": plan(conn, samples.OLD, {"width": 60, "before": 1, "limit": 9}),
    }


EXPECTED = {
    "runners": "USING INDEX runners_by_age",
    "runners by state": "USING INDEX runners_by_state (state=?)",
    "count by state": "USING COVERING INDEX runners_by_state (state=?)",
    "runners by kind": "USING INDEX runners_by_kind (kind=?)",
    "local": "USING INDEX runners_local",
    "active of bound": "attempts_bound (bound_to=?)",
    "active of own": "USING INDEX attempts_active (runner_id=?)",
    "active of hosted": "attempts_bound (bound_to=?)",
    "queued": "USING COVERING INDEX jobs_bound_by_state (bound_to=? AND state=?)",
    "ended of bound": "USING COVERING INDEX jobs_bound_by_state (bound_to=?",
    "ended of own": "jobs_ended_of_runner (runner_id=?",
    "moving": "runners_by_state (state=?)",
    "jobs": "USING INDEX jobs_bound (bound_to=?)",
    "count of jobs": "USING COVERING INDEX jobs_bound",
    "events": "USING INTEGER PRIMARY KEY (rowid>?)",
    "feed": "USING PRIMARY KEY (runner_id=? AND first<?)",
    "feed of a level": "USING PRIMARY KEY (runner_id=? AND first<?)",
    "feed behind": "USING PRIMARY KEY (runner_id=? AND first>?)",
    "totals of a feed": "USING COVERING INDEX runner_feed_by_time (runner_id=? AND last_at>?)",
    "open attempts": "attempts_bound (bound_to=?)",
    "samples": "USING PRIMARY KEY (runner_id=? AND width=? AND start>? AND start<?)",
    "old samples": "USING COVERING INDEX runner_samples_by_age (width=? AND start<?)",
}


@pytest.fixture
async def plans(sqlite_url: str) -> dict[str, str]:
    async with open_store(sqlite_url) as store:
        return await store.engine.read(found)


async def test_queries_use_their_indexes_and_sort_nothing(plans: dict[str, str]) -> None:
    assert plans.keys() == EXPECTED.keys()
    for name, part in EXPECTED.items():
        assert part in plans[name], (name, plans[name])
        if name not in ("moving", "ended of bound", "ended of own"):  # a handful of rows
            assert "TEMP B-TREE" not in plans[name], (name, plans[name])
