"""Migrations, and the plans that queries rely on."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Callable
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
from runner_service.store.schema import REVISION, metadata, runner_tags, worker_credentials
from runner_service.store.sqlite import SqliteEngine
from runner_service.store.statements import Connection, Query
from runner_service.store.upgrade import MIGRATIONS, revision_of, upgrade


def test_the_revision_in_the_code_is_the_newest_migration() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == REVISION


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], sqlalchemy.Engine]:
    """Makes databases without any table."""
    if request.param == "sqlite":
        return lambda: SqliteEngine(tmp_path / f"{uuid.uuid4()}.db", None).sql
    server = request.getfixturevalue("postgres_server")
    return lambda: sqlalchemy.create_engine(server.url(server.create()), poolclass=sqlalchemy.pool.NullPool)


def _migrate(engine: sqlalchemy.Engine, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()


def test_an_empty_database_becomes_what_the_migrations_would_make_of_it(
    empty: Callable[[], sqlalchemy.Engine],
) -> None:
    made, migrated = (empty() for _ in range(2))
    upgrade(made, migrate=True)
    _migrate(migrated, "head")
    assert _everything(made) == _everything(migrated)
    with migrated.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def _everything(engine: sqlalchemy.Engine) -> dict[str, object]:
    """All that a database holds; not the order of columns, nor the defaults that added ones needed for the rows that
    were there before: every statement of ours names its columns and gives all values."""
    reads = _OF_SQLITE if engine.dialect.name == "sqlite" else _OF_POSTGRESQL
    with engine.connect() as connection:
        found: dict[str, object] = {
            what: sorted(tuple(row) for row in connection.execute(text(read))) for what, read in reads.items()
        }
        for table in [*metadata.tables, "alembic_version"]:
            found[table] = sorted(map(str, connection.execute(text(f'SELECT * FROM "{table}"')).mappings()))
        return found


_OF_SQLITE = {
    "columns": 'SELECT m.name, c.name, c.type, c."notnull", c.pk FROM sqlite_master m, pragma_table_info(m.name) c '
    "WHERE m.type = 'table'",
    "tables": "SELECT name, sql LIKE '%WITHOUT ROWID%', sql LIKE '%AUTOINCREMENT%' FROM sqlite_master "
    "WHERE type = 'table'",
    "indexes": "SELECT name, tbl_name, coalesce(sql, '') FROM sqlite_master WHERE type <> 'table'",
}
_OF_POSTGRESQL = {
    "columns": "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, "
    "a.attcollation::regclass::text, a.attstorage, a.attidentity, "
    "coalesce(pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval%', FALSE) FROM pg_attribute a "
    "JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum "
    "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
    "WHERE connamespace = 'public'::regnamespace AND contype <> 'n'",
}


def test_a_database_whose_making_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    engine = SqliteEngine(tmp_path / "x.db", None).sql

    def cut_off(*_: object, **__: object) -> None:
        raise RuntimeError("cut off")

    sqlalchemy.event.listen(runner_tags, "after_create", cut_off)
    try:
        with pytest.raises(RuntimeError, match="cut off"):
            upgrade(engine, migrate=True)
    finally:
        sqlalchemy.event.remove(runner_tags, "after_create", cut_off)
    upgrade(engine, migrate=True)
    with engine.connect() as connection:
        assert revision_of(connection) == REVISION


def test_a_migration_that_is_cut_off_changes_nothing_and_is_done_later(tmp_path: Path) -> None:
    engine = SqliteEngine(tmp_path / "x.db", None).sql
    _migrate(engine, "0013")
    before = _schema(engine)

    def cut_off(connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE alembic_version") and f"'{REVISION}'" in statement:
            raise RuntimeError("cut off")

    sqlalchemy.event.listen(engine, "before_cursor_execute", cut_off)
    with pytest.raises(RuntimeError, match="cut off"):
        upgrade(engine, migrate=True)
    assert _schema(engine) == before
    sqlalchemy.event.remove(engine, "before_cursor_execute", cut_off)
    upgrade(engine, migrate=True)
    with engine.connect() as connection:
        assert revision_of(connection) == REVISION


def _schema(engine: sqlalchemy.Engine) -> list[str]:
    with engine.connect() as connection:
        return [*sorted(map(str, connection.execute(text("SELECT * FROM sqlite_master")))), revision_of(connection)]


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


async def test_without_migrating_an_old_schema_is_refused(tmp_path: Path) -> None:
    sqlite_url = f"sqlite:///{tmp_path}/none.db"
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


async def test_runners_that_had_tags_before_are_found_by_them(
    empty: Callable[[], sqlalchemy.Engine],
) -> None:
    """Of 0015, the first migration that moves rows."""
    engine = empty()
    _migrate(engine, "0014")
    with engine.connect() as connection:
        then = sqlalchemy.Table("runners", sqlalchemy.MetaData(), autoload_with=connection)
        empty: dict[str, object] = {column.name: _EMPTY[column.type.python_type] for column in then.c}
        connection.execute(sqlalchemy.insert(then), {**empty, "runner_id": "r" * 36, "registered_at": 7})
        connection.execute(text("INSERT INTO runner_tags (tag, runner_id) VALUES ('old', :id)"), {"id": "r" * 36})
        connection.commit()

    def tagged(conn: Connection) -> list[tuple[object, ...]]:
        return [tuple(row) for row in conn.all(Query(sqlalchemy.select(runner_tags)))]

    async with open_store(engine.url.render_as_string(hide_password=False)) as store:
        assert await store.engine.read(tagged) == [("old", 7, "r" * 36)]


def test_credentials_from_before_they_ended_are_good_for_another_week(
    empty: Callable[[], sqlalchemy.Engine],
) -> None:
    engine = empty()
    _migrate(engine, "0021")
    with engine.connect() as connection:
        then = sqlalchemy.Table("runners", sqlalchemy.MetaData(), autoload_with=connection)
        empty: dict[str, object] = {column.name: _EMPTY[column.type.python_type] for column in then.c}
        digest = b"\x07" * 32
        connection.execute(sqlalchemy.insert(then), {**empty, "runner_id": "r" * 36, "credential_hash": digest})
        connection.commit()
    began = time.time_ns() // 1000

    upgrade(engine, migrate=True)
    with engine.connect() as connection:
        ((*facts, expires_at),) = connection.execute(sqlalchemy.select(worker_credentials))
    assert facts == ["r" * 36, 1, digest, ""]
    week = 7 * 86_400_000_000
    assert began <= expires_at - week <= time.time_ns() // 1000


_EMPTY: dict[type, object] = {str: "", int: 0, bytes: b""}
