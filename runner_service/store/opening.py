"""Opens a store by its URL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from runner_service.ports.clock import Clock
from runner_service.store.signals import LocalSignals
from runner_service.store.sql import SqlStore
from runner_service.store.upgrade import upgrade


class StoreUnusable(Exception):
    """The store cannot be opened; the message says why, and names the database without its password."""


@asynccontextmanager
async def open_store(url: str, *, clock: Clock | None = None, migrate: bool = True) -> AsyncIterator[SqlStore]:
    """Opens ``sqlite:////path/to/runner.db`` or ``postgresql+psycopg://user@host/database``.

    ``clock`` stamps everything; without one it is the machine's on SQLite and the database's on PostgreSQL. The
    schema is brought up to date unless ``migrate`` is false. Leaving the context finishes what was asked for.

    Raises:
        SchemaTooNew: The database belongs to a newer version of this service.
        SchemaOutdated: It belongs to an older one, and ``migrate`` is false.
        StoreUnusable: The URL names neither engine, or no file, or the database cannot be opened.
    """
    async with AsyncExitStack() as stack:
        try:
            store = await stack.enter_async_context(_open(_parsed(url), clock, migrate))
        except DBAPIError as error:
            where = make_url(url).render_as_string(hide_password=True)
            reason = str(error.orig).strip().splitlines()[0]
            raise StoreUnusable(f"cannot use the database {where}: {reason}") from error
        yield store


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError:
        # Not what was given: it may hold a password.
        raise StoreUnusable("store.url is no URL: give postgresql+psycopg://user@host/database") from None


def _open(url: URL, clock: Clock | None, migrate: bool) -> AbstractAsyncContextManager[SqlStore]:
    engine = url.get_backend_name()
    if engine == "sqlite":
        return _open_sqlite(url, clock, migrate)
    if engine == "postgresql":
        # Here, because psycopg is an extra of its own.
        try:
            from runner_service.store.postgres import open_postgres
        except ModuleNotFoundError as error:
            raise StoreUnusable(
                f"PostgreSQL needs {error.name}: pip install 'runner-service[server,postgres]'"
            ) from error
        return open_postgres(url.render_as_string(hide_password=False), clock, migrate)
    raise StoreUnusable(f"store.url is sqlite:////FILE or postgresql+psycopg://…, not {engine}://…")


@asynccontextmanager
async def _open_sqlite(url: URL, clock: Clock | None, migrate: bool) -> AsyncIterator[SqlStore]:
    from runner_service.store.sqlite import SqliteEngine

    database = url.database
    if not database or database == ":memory:":
        raise StoreUnusable("a store on SQLite needs a file: sqlite:////absolute/path/runner.db")
    engine = SqliteEngine(Path(database), clock)
    await asyncio.to_thread(upgrade, engine.sql, migrate=migrate)
    engine.start()
    try:
        yield SqlStore(engine, LocalSignals())
    finally:
        await engine.close()
