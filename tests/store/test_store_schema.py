"""Migrations, and the plans that queries rely on."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from store_house import Opener, create, make_job

from runner_service.ports.store import JobFilter
from runner_service.store import SchemaOutdated, SchemaTooNew, SqlStore, claims, events, listing, open_store
from runner_service.store import dispatch as dispatch_queries
from runner_service.store import jobs as job_queries
from runner_service.store import logs as log_queries
from runner_service.store.schema import REVISION, metadata, runner_tags
from runner_service.store.statements import Connection, Query
from runner_service.store.upgrade import MIGRATIONS


def test_the_revision_in_the_code_is_the_newest_migration() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == REVISION


async def test_migrations_make_the_schema_of_the_code(reopen: Opener, url: str) -> None:
    async with reopen():
        pass
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


async def _set_revision(store: SqlStore, revision: str) -> None:
    def change(conn: Connection) -> None:
        conn.run(Query(text(f"UPDATE alembic_version SET version_num = '{revision}'")))

    await store.engine.write(change)


async def test_a_newer_schema_is_refused_and_left_alone(reopen: Opener) -> None:
    async with reopen() as store:
        await create(store)
        await _set_revision(store, "9999")
    for migrate in (True, False):
        with pytest.raises(SchemaTooNew, match="9999"):
            async with reopen(migrate=migrate):
                pass


async def test_without_migrating_an_old_schema_is_refused(sqlite_url: str) -> None:
    with pytest.raises(SchemaOutdated, match="--no-migrate"):
        async with open_store(sqlite_url, migrate=False):
            pass
    async with open_store(sqlite_url):
        pass
    async with open_store(sqlite_url, migrate=False) as store:
        await create(store)


async def test_two_servers_may_open_one_database(reopen: Opener) -> None:
    async with reopen() as one, reopen() as two:
        job = await create(one)
        if one.shared:
            assert await two.jobs.get(job.job_id) == job


def plan(conn: Connection, query: Query, values: dict[str, object]) -> str:
    """The plan of a query on SQLite, as one line per step."""
    assert conn.dialect.name == "sqlite"
    rows = conn.all(Query(text("EXPLAIN QUERY PLAN " + query.text(conn.dialect).replace(":", "\\:"))), values)
    return "; ".join(row[3] for row in rows)


async def test_queries_use_their_indexes_and_sort_nothing(sqlite_url: str) -> None:
    async with open_store(sqlite_url) as store:
        for number in range(50):
            await create(
                store, spec={"required_labels": {"n": str(number % 3)}}, origin="sct" if number % 2 else "native"
            )

        def explain(conn: Connection) -> dict[str, str]:
            page, count, values = listing.query_for(conn, JobFilter(origin="sct"), after=True)
            newest, _, _ = listing.query_for(conn, JobFilter(), after=True)
            place = {"after_time": 1, "after_id": "", "limit": 9, "offset": 0}
            head = {"requirement": 0, "now": 1, "count": 9}
            numbers = {"after": 0, "settled": 9, "limit": 9, "job_id": ""}
            return {
                "page": plan(conn, page, {**values, **place}),
                "newest": plan(conn, newest, place),
                "count": plan(conn, count, values),
                "requirements": plan(conn, claims.REQUIREMENTS, {}),
                "head": plan(conn, claims.HEAD, head),
                "events": plan(conn, events.EVENTS, numbers),
                "events of job": plan(conn, events.EVENTS_OF_JOB, numbers),
                "position": plan(conn, job_queries.POSITION, {"priority": 0, "created_at": 0, "job_id": ""}),
                "states": plan(conn, job_queries.COUNT_OF_ORIGIN, {"origin": ""}),
                "active": plan(conn, dispatch_queries.ACTIVE, {"runner_id": ""}),
                "abandoned": plan(conn, dispatch_queries.ABANDONED, {"kill_budget_us": 0, "now": 0}),
                "chunks": plan(conn, log_queries.SIZES, {"attempt_id": "", "first": 0}),
                "archivable": plan(conn, log_queries.ARCHIVABLE, {"limit": 1}),
            }

        plans = await store.engine.read(explain)
    expected = {
        "page": "USING INDEX jobs_newest_of_origin (origin=? AND created_at<?)",
        "newest": "USING INDEX jobs_newest (created_at<?)",
        "count": "USING COVERING INDEX",
        "requirements": "USING COVERING INDEX jobs_queue (requirement>?)",
        "head": "USING COVERING INDEX jobs_queue (requirement=?)",
        "events": "USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        "events of job": "USING INDEX job_events_of_job (job_id=? AND sequence>? AND sequence<?)",
        "position": "USING COVERING INDEX jobs_queue",
        "states": "USING COVERING INDEX jobs_by_state (origin=?)",
        "active": "USING INDEX attempts_active (runner_id=?)",
        "abandoned": "attempts_active",
        "chunks": "INDEX sqlite_autoindex_log_chunks_1 (attempt_id=? AND first_sequence>?)",
        "archivable": "USING COVERING INDEX attempts_archivable",
    }
    for name, part in expected.items():
        assert part in plans[name], (name, plans[name])
        if name != "active":  # a handful of rows, in the order in which they are locked
            assert "TEMP B-TREE" not in plans[name], (name, plans[name])


async def test_a_large_body_is_not_rewritten_when_the_job_moves(sqlite_url: str) -> None:
    async with open_store(sqlite_url) as store:
        await store.jobs.create(make_job(spec={"environment": {"X": "x" * 1_000_000}}), queue_limit=9)
        path = sqlite_url.removeprefix("sqlite:///")
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        (job,) = (await store.jobs.list(JobFilter(), limit=1)).jobs
        await store.jobs.cancel(job.job_id, by="", reason="")
        assert Path(path + "-wal").stat().st_size < 200_000


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_runners_that_had_tags_before_are_found_by_them(kind: str, request: pytest.FixtureRequest) -> None:
    """Of 0015, the first migration that moves rows."""
    if kind == "sqlite":
        url = request.getfixturevalue("sqlite_url")
    else:
        server = request.getfixturevalue("postgres_server")
        url = server.url(server.create())
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool).connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0014")
        then = sqlalchemy.Table("runners", sqlalchemy.MetaData(), autoload_with=connection)
        empty: dict[str, object] = {column.name: _EMPTY[column.type.python_type] for column in then.c}
        connection.execute(sqlalchemy.insert(then), {**empty, "runner_id": "r" * 36, "registered_at": 7})
        connection.execute(text("INSERT INTO runner_tags (tag, runner_id) VALUES ('old', :id)"), {"id": "r" * 36})
        connection.commit()

    def tagged(conn: Connection) -> list[tuple[object, ...]]:
        return [tuple(row) for row in conn.all(Query(sqlalchemy.select(runner_tags)))]

    async with open_store(url) as store:
        assert await store.engine.read(tagged) == [("old", 7, "r" * 36)]


_EMPTY: dict[type, object] = {str: "", int: 0, bytes: b""}
