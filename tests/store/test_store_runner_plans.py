"""The plans by which ten thousand runners and a month of their metrics are read in milliseconds, on both engines."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from sqlalchemy import text
from store_many import A_JOB, ONE, statements

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

Values = Mapping[str, object]
PAGE = {"limit": 9, "offset": 0}
OF = {"runner_id": ONE}
TIME = {**OF, "since": 1000, "until": 2000}


def queries(conn: Connection) -> dict[str, tuple[Query, Values]]:
    """What the views of runners ask, with values that find something among many."""
    found: dict[str, tuple[Query, Values]] = {}
    tags = ("production", "x86")
    for name, filter in {
        "everything": RunnerFilter(),
        "a state": RunnerFilter(state=RunnerState.ACTIVE),
        "a kind": RunnerFilter(kind=RunnerKind.DOCKER),
        "a tag": RunnerFilter(tags=tags[:1]),
        "two tags": RunnerFilter(tags=tags),
        "all of it": RunnerFilter(state=RunnerState.ACTIVE, kind=RunnerKind.DOCKER, tags=tags),
    }.items():
        page, count, values = runner_lists.query_for(filter)
        found[f"page of {name}"] = page, {**values, **PAGE}
        found[f"count of {name}"] = count, values
    jobs_page, jobs_count, values = listing.query_for(conn, JobFilter(bound_to=ONE), after=False)
    many = {"runner_ids": conn.array([ONE])}
    newest = {**TIME, "below": 10_000, "limit": 9}
    return found | {
        "local": (runners.LOCAL, {}),
        "profiles": (runners.PROFILES, many),
        "active of bound": (runners.ACTIVE_BOUND, many),
        "active of own": (runners.ACTIVE_OWN, many),
        "active of hosted": (claims.ACTIVE_OF, OF),
        "queued": (runner_lists.QUEUED, many),
        "ended of bound": (runner_lists.ENDED_BOUND, {**OF, "since": 0}),
        "ended of own": (runner_lists.ENDED_OWN, {**OF, "since": 0}),
        "moving": (runner_control.ON_THEIR_WAY, {}),
        "jobs": (jobs_page, {**values, **PAGE}),
        "count of jobs": (jobs_count, values),
        "events": (runner_events.EVENTS, {"after": 19_000, "limit": 9}),
        "feed": (runner_feed.NEWEST[None], newest),
        "feed of a level": (runner_feed.NEWEST[FeedLevel.ERROR], newest),
        "feed of a job": (runner_feed.NEWEST_OF_JOB[None], {**newest, "job_id": A_JOB}),
        "feed behind": (runner_feed.BEHIND, {**OF, "behind": 1, "limit": 9}),
        "totals of a feed": (runner_feed.TOTALS, TIME),
        "totals of a job": (runner_feed.TOTALS_OF_JOB, {**TIME, "job_id": A_JOB}),
        "open attempts": (runner_feed.OPEN_ATTEMPTS, OF),
        "samples": (samples.READ, {**TIME, "width": 60}),
        "old samples": (samples.OLD, {"width": 60, "before": 100, "limit": 9}),
    }


# What is read, on SQLite and on PostgreSQL.
EXPECTED = {
    "page of everything": ("USING INDEX runners_by_age", "runners_by_age"),
    "page of a state": ("USING INDEX runners_by_state (state=?)", "runners_by_"),
    "page of a kind": ("USING INDEX runners_by_kind (kind=?)", "runners_by_"),
    "page of a tag": ("runner_tags USING PRIMARY KEY (tag=?)", "runner_tags_pkey"),
    "page of two tags": ("runner_tags USING PRIMARY KEY (tag=?)", "runner_tags_pkey"),
    "page of all of it": ("runner_tags USING PRIMARY KEY (tag=?)", "runner_tags_pkey"),
    "count of everything": ("USING COVERING INDEX", "runners"),
    "count of a state": ("USING COVERING INDEX runners_by_state (state=?)", "runners"),
    "count of a kind": ("USING COVERING INDEX runners_by_kind (kind=?)", "runners"),
    "count of a tag": ("runner_tags USING PRIMARY KEY (tag=?)", "runner_tags"),
    "count of two tags": ("USING COVERING INDEX runner_tags_of_runner (runner_id=? AND tag=?)", "runner_tags"),
    "count of all of it": ("runners USING INDEX sqlite_autoindex_runners_1 (runner_id=?)", "runner_tags"),
    "local": ("USING INDEX runners_local", "runners_local"),
    "profiles": ("sqlite_autoindex_runner_profiles_1 (runner_id=?)", "runner_profiles_pkey"),
    "active of bound": ("attempts_bound (bound_to=?)", "attempts_bound"),
    "active of own": ("USING INDEX attempts_active (runner_id=?)", "attempts_active"),
    "active of hosted": ("attempts_bound (bound_to=?)", "attempts_bound"),
    "queued": ("USING COVERING INDEX jobs_bound_by_state (bound_to=? AND state=?)", "jobs_bound_by_state"),
    "ended of bound": ("USING COVERING INDEX jobs_bound_by_state (bound_to=?", "jobs_bound_by_state"),
    "ended of own": ("jobs_ended_of_runner (runner_id=?", "jobs_ended_of_runner"),
    "moving": ("runners_by_state (state=?)", "runners_by_state"),
    "jobs": ("USING INDEX jobs_bound (bound_to=?)", "jobs_bound"),
    "count of jobs": ("USING COVERING INDEX jobs_bound", "jobs_bound"),
    "events": ("USING INTEGER PRIMARY KEY (rowid>?)", "runner_events_pkey"),
    "feed": ("USING PRIMARY KEY (runner_id=? AND first<?)", "runner_feed_pkey"),
    "feed of a level": ("USING PRIMARY KEY (runner_id=? AND first<?)", "runner_feed_"),
    "feed of a job": ("USING INDEX runner_feed_of_job (job_id=? AND first<?)", "runner_feed_of_job"),
    "feed behind": ("USING PRIMARY KEY (runner_id=? AND first>?)", "runner_feed_pkey"),
    "totals of a feed": ("USING COVERING INDEX runner_feed_by_time (runner_id=? AND last_at>?)", "runner_feed_by_time"),
    "totals of a job": ("USING INDEX runner_feed_of_job (job_id=?)", "runner_feed_of_job"),
    "open attempts": ("attempts_bound (bound_to=?)", "attempts_bound"),
    "samples": ("USING PRIMARY KEY (runner_id=? AND width=? AND start>? AND start<?)", "runner_samples_pkey"),
    "old samples": ("USING COVERING INDEX runner_samples_by_age (width=? AND start<?)", "runner_samples_by_age"),
}
SORTED = frozenset({"moving", "ended of bound", "ended of own", "active of bound", "active of own", "queued"})
"""A handful of rows."""
SORTED_THERE = SORTED | {"feed of a level", "samples"}
"""PostgreSQL, which knows how many rows there are and how they lie, sorts these too."""


async def test_on_sqlite_queries_use_their_indexes_and_sort_nothing(sqlite_url: str) -> None:
    def plans(conn: Connection) -> dict[str, str]:
        found = {}
        for name, (query, values) in queries(conn).items():
            explain = Query(text("EXPLAIN QUERY PLAN " + query.text(conn.dialect).replace(":", "\\:")))
            found[name] = "; ".join(row[3] for row in conn.all(explain, values))
        return found

    async with open_store(sqlite_url) as store:
        plans_of = await store.engine.read(plans)
    assert plans_of.keys() == EXPECTED.keys()
    for name, (part, _) in EXPECTED.items():
        assert part in plans_of[name], (name, plans_of[name])
        if name not in SORTED:
            assert "TEMP B-TREE" not in plans_of[name], (name, plans_of[name])


async def test_on_postgresql_ten_thousand_runners_are_read_by_index_too(postgres_url: str) -> None:
    def texts(conn: Connection) -> dict[str, tuple[str, Values]]:
        return {name: (query.text(conn.dialect), values) for name, (query, values) in queries(conn).items()}

    async with open_store(postgres_url) as store:
        asked = await store.engine.read(texts)
    plans = {}
    url = postgres_url.replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        for statement in statements():
            connection.execute(statement)  # type: ignore[call-overload]
        for name, (query, values) in asked.items():
            rows = connection.execute("EXPLAIN " + query, values)  # type: ignore[call-overload]
            plans[name] = "\n".join(row[0] for row in rows)
    for name, (_, part) in EXPECTED.items():
        assert f" using {part}" in plans[name] or f" on {part}" in plans[name], (name, plans[name])
        if not name.startswith("count of"):
            assert "Seq Scan" not in plans[name], (name, plans[name])
            assert name in SORTED_THERE or "Sort" not in plans[name], (name, plans[name])
