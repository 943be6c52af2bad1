"""SQLite: one writer thread with group commit, a few readers on snapshots of their own.

The writer takes what has queued up, runs it in one transaction and syncs the disk once. A unit that fails without
having written is simply told so; one that fails half-way spoils the group, which is then run again under savepoints.
"""

from __future__ import annotations

import asyncio
import functools
import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Concatenate

import sqlalchemy
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.pool import NullPool

from runner_service.domain import crashpoints
from runner_service.domain.errors import InvalidArgument, StorageFull
from runner_service.domain.jobs import Micros
from runner_service.ports.clock import Clock
from runner_service.store.engine import NO_NUL, Lane, P, T, Unit
from runner_service.store.statements import Connection, Query, Row, Values

GROUP_UNITS = 128
"""Units in one transaction: beyond some dozens the sync is a small share, and a read waits longer for its write."""
READERS = 3
READER_KIB = 2048
"""Of pages that each reader keeps: what was read of a long log stays there for good, and the kernel has it anyway."""
RECLAIM_PAGES = 2048
"""Free pages given back per visit, so that no visit holds up the writer for long."""

_DIALECT = SQLiteDialect_pysqlite(paramstyle="named")
_NOTHING: Values = {}


class SystemClock:
    """The wall clock of the machine."""

    def now(self) -> Micros:
        return time.time_ns() // 1000


class SqliteConnection:
    """A connection in autocommit mode: transactions are begun and ended by name."""

    dialect: Dialect = _DIALECT

    def __init__(self, driver: sqlite3.Connection, clock: Clock, caches: dict[type, Any]) -> None:
        self.driver = driver
        self.caches = caches
        self.now = clock.now

    def all(self, query: Query, values: Values = _NOTHING, /) -> Sequence[Row]:
        _check(values.values())
        return self.driver.execute(query.text(_DIALECT), values).fetchall()

    def one(self, query: Query, values: Values = _NOTHING, /) -> Row | None:
        _check(values.values())
        row: Row | None = self.driver.execute(query.text(_DIALECT), values).fetchone()
        return row

    def run(self, query: Query, values: Values = _NOTHING, /) -> int:
        _check(values.values())
        return self.driver.execute(query.text(_DIALECT), values).rowcount

    def many(self, query: Query, rows: Sequence[Values], /) -> None:
        if rows:
            for row in rows:
                _check(row.values())
            self.driver.executemany(query.text(_DIALECT), rows)

    def array(self, values: Iterable[str], /) -> str:
        texts = list(values)
        _check(texts)
        return json.dumps(texts)

    def serialize(self, lock: int, /) -> None:
        """There is one writer."""

    def settled(self) -> tuple[int | None, bool]:
        return None, True

    def reclaim(self) -> None:
        self.driver.execute(f"PRAGMA incremental_vacuum({RECLAIM_PAGES})").fetchall()


def _check(values: Iterable[object]) -> None:
    """PostgreSQL takes no NUL in a text: what one engine refuses the other does, too."""
    for value in values:
        if value.__class__ is str and "\0" in value:
            raise InvalidArgument(field="text", problem=NO_NUL)


class SqliteEngine:
    """The engine for one database file and one server."""

    shared = False
    reachable = True
    """What a file's disk may do is an error of each call."""

    def __init__(self, path: Path, clock: Clock | None) -> None:
        self._clock = clock or SystemClock()
        self._caches: dict[type, Any] = {}
        # Alembic and the pragmas go through it; the threads keep its connections for life.
        self.sql = sqlalchemy.create_engine(
            f"sqlite+pysqlite:///{path}",
            poolclass=NullPool,
            connect_args={"isolation_level": None, "check_same_thread": False, "timeout": 10.0},
        )
        sqlalchemy.event.listen(self.sql, "connect", _prepare)

    def start(self) -> None:
        """Starts the threads; the schema must be there."""
        # Connected here, so that a file that cannot be opened is an error of the opening.
        writer = self._connect()
        self._writer = Lane("writer", [functools.partial(self._write_groups, writer)])
        readers = [self._connect() for _ in range(READERS)]
        self._readers = Lane("reader", [functools.partial(self._read_each, reader) for reader in readers])

    def write(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        return self._writer.submit(function, lambda conn: function(conn, *args, **kwargs))

    def read(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        return self._readers.submit(function, lambda conn: function(conn, *args, **kwargs))

    async def close(self) -> None:
        await self._writer.close()
        await self._readers.close()
        self.sql.dispose()

    def _connect(self) -> SqliteConnection:
        connection = self.sql.raw_connection()
        driver = connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        connection.detach()  # from SQLAlchemy's pool: a thread keeps it for life
        return SqliteConnection(driver, self._clock, self._caches)

    def _write_groups(self, conn: SqliteConnection, lane: Lane) -> None:
        while units := lane.take(GROUP_UNITS):
            commit_group(conn, units)
            lane.deliver(units)
            del units
        conn.driver.close()

    def _read_each(self, conn: SqliteConnection, lane: Lane) -> None:
        conn.driver.execute("PRAGMA query_only = ON")
        conn.driver.execute(f"PRAGMA cache_size = -{READER_KIB}")
        while units := lane.take(1):
            _read(conn, units[0])
            lane.deliver(units)
            del units
        conn.driver.close()


def _prepare(driver: sqlite3.Connection, record: object) -> None:
    # The first two only take effect on an empty file, and before it is in WAL mode.
    for pragma in (
        "page_size = 8192",  # fewer calls per log chunk than 4 KiB, less to write per small commit than 16 KiB
        "auto_vacuum = INCREMENTAL",
        "journal_mode = WAL",
        "synchronous = FULL",
        "busy_timeout = 10000",
        "wal_autocheckpoint = 2000",
        "journal_size_limit = 67108864",
        "cache_size = -8192",
        "temp_store = MEMORY",
        "foreign_keys = OFF",
    ):
        driver.execute(f"PRAGMA {pragma}").close()


def commit_group(conn: SqliteConnection, units: Sequence[Unit]) -> None:
    """Runs units in one transaction; afterwards each has its result or its error, and what has a result is durable."""
    if not _commit_plain(conn, units) and not _commit_with_savepoints(conn, units):
        for unit in units:
            _commit_alone(conn, unit)


def _commit_plain(conn: SqliteConnection, units: Sequence[Unit]) -> bool:
    driver = conn.driver
    try:
        driver.execute("BEGIN IMMEDIATE")
        for unit in units:
            _attempt_write(conn, unit)
            # An error before the first change is the unit's own affair, and by far the most frequent kind.
            if not driver.in_transaction or (unit.error is not None and unit.wrote):
                break
        else:
            _commit(driver, units)
            return True
    except sqlite3.Error:
        pass  # no lock, or no room to commit: the units get another chance
    _rollback(driver)
    return False


def _commit_with_savepoints(conn: SqliteConnection, units: Sequence[Unit]) -> bool:
    driver = conn.driver
    try:
        driver.execute("BEGIN IMMEDIATE")
        for unit in units:
            driver.execute("SAVEPOINT unit")
            _attempt_write(conn, unit)
            if not driver.in_transaction:
                break
            if unit.error is not None:
                driver.execute("ROLLBACK TO unit")
            driver.execute("RELEASE unit")
        else:
            _commit(driver, units)
            return True
    except sqlite3.Error:
        pass
    _rollback(driver)
    return False


def _commit_alone(conn: SqliteConnection, unit: Unit) -> None:
    driver = conn.driver
    try:
        driver.execute("BEGIN IMMEDIATE")
        _attempt_write(conn, unit)
        if unit.error is None:
            _commit(driver, [unit])
    except sqlite3.Error as error:
        unit.error = translate(error)
    _rollback(driver)


def _read(conn: SqliteConnection, unit: Unit) -> None:
    try:
        # One snapshot for all statements of the function.
        conn.driver.execute("BEGIN")
        _attempt(conn, unit)
    except sqlite3.Error as error:
        unit.error = translate(error)
    _rollback(conn.driver)


def _attempt_write(conn: SqliteConnection, unit: Unit) -> None:
    before = conn.driver.total_changes
    _attempt(conn, unit)
    unit.wrote = conn.driver.total_changes != before
    if unit.wrote and unit.error is None:
        crashpoints.before_commit(unit.function)


def _commit(driver: sqlite3.Connection, units: Sequence[Unit]) -> None:
    driver.execute("COMMIT")
    for unit in units:
        if unit.wrote and unit.error is None:
            crashpoints.after_commit(unit.function)


def _attempt(conn: SqliteConnection, unit: Unit) -> None:
    unit.result = unit.error = None
    try:
        unit.result = unit.call(conn)
    except Exception as error:
        unit.error = translate(error)


def _rollback(driver: sqlite3.Connection) -> None:
    # SQLite ends some transactions by itself, e.g. on a full disk.
    if driver.in_transaction:
        driver.execute("ROLLBACK")


@functools.singledispatch
def translate(error: Exception) -> Exception:
    """The error as the callers of the store know it."""
    return error


@translate.register
def _(error: sqlite3.Error) -> Exception:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        full = StorageFull()
        full.__cause__ = error
        return full
    return error


@translate.register
def _(error: UnicodeEncodeError) -> Exception:
    return InvalidArgument(field="text", problem="it holds half a surrogate pair, which is no Unicode text")
