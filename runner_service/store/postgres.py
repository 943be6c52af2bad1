"""PostgreSQL: a pool of threads with a connection each, for any number of servers on one database.

What would cost a transaction per call under load (creating, claiming, reporting) is combined above, in `sql`.
Writers run in READ COMMITTED with row locks; readers on one snapshot per function.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Concatenate, LiteralString

import psycopg
import sqlalchemy
from psycopg import IsolationLevel
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.pool import NullPool

from runner_service.domain import crashpoints
from runner_service.domain.errors import InvalidArgument, StorageFull, StoreUnavailable
from runner_service.domain.jobs import Micros
from runner_service.ports.clock import Clock
from runner_service.store.engine import NO_NUL, Lane, P, T, Unit
from runner_service.store.postgres_signals import open_signals
from runner_service.store.reach import Reach
from runner_service.store.sql import SqlStore
from runner_service.store.statements import Connection, Query, Row, Values
from runner_service.store.upgrade import upgrade

WRITERS = 6
READERS = 3
SPARE_SECONDS = 0.5
"""Between tries of a thread to connect while others of its kind do the work."""
RETRY_SECONDS = (0.0, 0.05, 0.25, 1.0)
"""Pauses before another try, after a deadlock or a lost connection."""

_DIALECT: Dialect = PGDialect_psycopg(paramstyle="pyformat")  # type: ignore[no-untyped-call]
_NOTHING: Values = {}
# The second column gives the transaction its id before it takes a number for an event: see Horizon.
_NOW = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, pg_current_xact_id()::text"
_LAST_NUMBER = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM job_events_sequence_seq"
_NEW_ID = "SELECT pg_current_xact_id()::text::bigint"
_OLDEST_ID = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
# Our queries walk an index to a limit. A table without statistics yet, as each is in its first minutes, looks small
# enough to be gathered and sorted whole; and compiling a plan takes longer than running it.
_SESSION = "SET enable_bitmapscan = off; SET enable_seqscan = off; SET jit = off"
_REMEMBERED = 16
"""Settled places that are kept for threads with an older snapshot; without one they would have to look again."""


class Horizon:
    """Knows up to which number no event can still appear.

    Numbers are taken while a transaction runs, and seen when it has committed: between the two, a higher one may
    be seen first. But a transaction has its id before it takes a number. So when the numbers up to N are taken, and
    after that an id X is given out, then everything up to N is settled for a snapshot in which all below X are over.
    (The end of a snapshot is no such X: it is behind the last transaction that is over, and others run beyond it.)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: list[tuple[int, int]] = []
        """(N, X) in the order of N."""

    def is_new(self, number: int) -> bool:
        """Tells whether `note` is to be called for the last number taken."""
        with self._lock:
            return not self._seen or self._seen[-1][0] < number

    def note(self, number: int, new_id: int) -> None:
        """Numbers up to ``number`` were taken before ``new_id`` was given out."""
        with self._lock:
            if not self._seen or self._seen[-1][0] < number:
                self._seen.append((number, new_id))

    def settled(self, oldest_id: int) -> int:
        """Up to which number everything is settled in a snapshot whose oldest running transaction is this one. A newer
        snapshot that another thread has does not count: it sees what this one does not."""
        with self._lock:
            place = max((at for at, (_, new_id) in enumerate(self._seen) if new_id <= oldest_id), default=None)
            if place is None:
                return 0
            settled = self._seen[place][0]
            if place > _REMEMBERED:
                del self._seen[: place - _REMEMBERED]
            return settled


class PostgresConnection:
    """A connection that is in at most one transaction, which the driver begins."""

    dialect = _DIALECT

    def __init__(
        self, driver: psycopg.Connection[Any], clock: Clock | None, caches: dict[type, Any], horizon: Horizon
    ) -> None:
        self.driver = driver
        self.caches = caches
        self._clock = clock
        self._horizon = horizon
        # Journals in binary: as text they are twice as long and twelve times as slow.
        self._cursor = driver.cursor(binary=True)
        self._now: Micros | None = None
        self.wrote = False
        """In this transaction."""

    def all(self, query: Query, values: Values = _NOTHING, /) -> Sequence[Row]:
        return self._cursor.execute(query.text(_DIALECT), values).fetchall()

    def one(self, query: Query, values: Values = _NOTHING, /) -> Row | None:
        row: Row | None = self._cursor.execute(query.text(_DIALECT), values).fetchone()
        return row

    def run(self, query: Query, values: Values = _NOTHING, /) -> int:
        touched = self._cursor.execute(query.text(_DIALECT), values).rowcount
        self.wrote |= touched > 0
        return touched

    def many(self, query: Query, rows: Sequence[Values], /) -> None:
        self.wrote |= bool(rows)
        if len(rows) == 1:
            self._cursor.execute(query.text(_DIALECT), rows[0])
        elif rows:
            self._cursor.executemany(query.text(_DIALECT), rows)

    def array(self, values: Iterable[str], /) -> list[str]:
        return list(values)

    def now(self) -> Micros:
        if self._now is None:
            row = self._cursor.execute(_NOW).fetchone()
            assert row is not None
            self._now = int(row[0]) if self._clock is None else self._clock.now()
        return self._now

    def serialize(self, lock: int, /) -> None:
        self._cursor.execute("SELECT pg_advisory_xact_lock(%s)", (lock,))

    def settled(self) -> tuple[int | None, bool]:
        # Each step in a transaction of its own: the snapshot must be newer than the id, and that than the number.
        self.finish(commit=False)
        number = self._integer(_LAST_NUMBER)
        if self._horizon.is_new(number):
            self._horizon.note(number, self._integer(_NEW_ID))
        self.finish(commit=False)
        # What follows is read in this snapshot.
        settled = self._horizon.settled(self._integer(_OLDEST_ID))
        return settled, settled >= number

    def _integer(self, statement: LiteralString) -> int:
        row = self._cursor.execute(statement).fetchone()
        assert row is not None
        return int(row[0])

    def reclaim(self) -> None:
        """Autovacuum does."""

    def finish(self, *, commit: bool) -> None:
        """Ends the transaction, if there is one."""
        self._now, self.wrote = None, False
        if commit:
            self.driver.commit()
        else:
            self.driver.rollback()


class PostgresEngine:
    """The engine for a database that other servers may use too."""

    shared = True

    def __init__(self, url: str, clock: Clock | None) -> None:
        self._clock = clock
        self._caches: dict[type, Any] = {}
        self._horizon = Horizon()
        self._reach = Reach()
        self._connected: dict[bool, set[int]] = {False: set(), True: set()}
        """The threads of writers and of readers that have a connection."""
        self.sql = sqlalchemy.create_engine(url, poolclass=NullPool, connect_args=patience(url))

    @property
    def reachable(self) -> bool:
        return not self._reach.away

    def start(self) -> None:
        """Starts the threads; the schema must be there."""
        self._writers = Lane("writer", [functools.partial(self._work, False)] * WRITERS)
        self._readers = Lane("reader", [functools.partial(self._work, True)] * READERS)

    def write(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        return self._writers.submit(function, lambda conn: function(conn, *args, **kwargs))

    def read(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        return self._readers.submit(function, lambda conn: function(conn, *args, **kwargs))

    def _connect(self, reader: bool) -> PostgresConnection:
        connection = self.sql.raw_connection()
        driver = connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        connection.detach()  # from SQLAlchemy's pool: a thread keeps it until it breaks
        driver.execute(_SESSION)
        driver.commit()
        if reader:
            driver.isolation_level = IsolationLevel.REPEATABLE_READ
            driver.read_only = True
        return PostgresConnection(driver, self._clock, self._caches, self._horizon)

    def _work(self, reader: bool, lane: Lane) -> None:
        conn: PostgresConnection | None = None
        connected = self._connected[reader]
        me = threading.get_ident()
        while True:
            # Whom the database has no connection left for leaves the calls to those that have one.
            while conn is None and connected and not lane.closed:
                conn = self._try_to_connect(reader)
                if conn is None:
                    time.sleep(SPARE_SECONDS)
            units = lane.take(1)
            if not units:
                break
            if conn is None and connected and not lane.closed:
                conn = self._try_to_connect(reader)
                if conn is None:
                    lane.hand_back(units)
                    continue
            conn = self._serve(units[0], conn, reader)
            (connected.discard if conn is None else connected.add)(me)
            lane.deliver(units)
            del units
        if conn is not None:
            conn.driver.close()

    def _try_to_connect(self, reader: bool) -> PostgresConnection | None:
        try:
            return self._connect(reader)
        except (psycopg.Error, sqlalchemy.exc.DBAPIError):
            return None  # Whoever has a connection says what is wrong with the database, if it is more than this.

    def _serve(self, unit: Unit, conn: PostgresConnection | None, reader: bool) -> PostgresConnection | None:
        """Runs a unit until it is committed or refused. Returns the connection for the next one."""
        for pause in RETRY_SECONDS:
            time.sleep(pause)
            committing = False
            try:
                conn = conn or self._connect(reader)
                result = unit.call(conn)
                committing = not reader
                unit.wrote = conn.wrote
                if unit.wrote:
                    crashpoints.before_commit(unit.function)
                conn.finish(commit=committing)
                if unit.wrote:
                    crashpoints.after_commit(unit.function)
                unit.result, unit.error = result, None
                self._reach.found()
                return conn
            except Exception as error:
                unit.error = translate(error)
                conn = _recover(conn)
                lost = conn is None and not committing
                if not lost and not isinstance(error, AGAIN):
                    break
        if isinstance(unit.error, StoreUnavailable):
            self._reach.lost(unit.error.__cause__ or unit.error)
        return conn

    async def close(self) -> None:
        await self._writers.close()
        await self._readers.close()
        self.sql.dispose()


AGAIN = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected)
"""The transaction was picked as the victim of a conflict, and has changed nothing."""


AWAY = ("08", "57P", "53300")
"""States by which a database says that it cannot be reached now: connections, shutdown and start, too many of them."""


def patience(url: str) -> dict[str, int]:
    """How long a connection waits for a machine that has vanished without a word, where the URL does not say: the
    kernel's own patience is a quarter of an hour."""
    said = make_url(url).query
    return {name: value for name, value in _PATIENCE.items() if name not in said}


_PATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


def _recover(conn: PostgresConnection | None) -> PostgresConnection | None:
    """Makes a connection usable after an error; None when it is lost."""
    if conn is None:
        return None
    try:
        conn.finish(commit=False)
    except psycopg.Error:
        pass  # it is closed below
    if conn.driver.closed:
        conn.driver.close()
        return None
    return conn


def translate(error: Exception) -> Exception:
    """The error as the callers of the store know it."""
    cause = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error
    known: Exception
    if isinstance(cause, psycopg.errors.DiskFull):
        known = StorageFull()
    elif isinstance(cause, psycopg.DataError) and cause.sqlstate is None:
        known = InvalidArgument(field="text", problem=NO_NUL)
    elif isinstance(cause, UnicodeEncodeError):
        known = InvalidArgument(field="text", problem="it holds half a surrogate pair, which is no Unicode text")
    elif isinstance(cause, psycopg.OperationalError) and (cause.sqlstate or "08").startswith(AWAY):
        known = StoreUnavailable()
    else:
        return error
    known.__cause__ = error
    return known


@asynccontextmanager
async def open_postgres(url: str, clock: Clock | None, migrate: bool) -> AsyncIterator[SqlStore]:
    """Opens the store on PostgreSQL: see `open_store`."""
    engine = PostgresEngine(url, clock)
    await asyncio.to_thread(upgrade, engine.sql, migrate=migrate)
    engine.start()
    try:
        _, options = _DIALECT.create_connect_args(make_url(url))
        async with open_signals({**options, **patience(url)}) as signals:
            yield SqlStore(engine, signals)
    finally:
        await engine.close()
