"""Opens a store by its URL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy.engine import make_url

from runner_service.ports.clock import Clock
from runner_service.store.signals import LocalSignals
from runner_service.store.sql import SqlStore
from runner_service.store.upgrade import upgrade


@asynccontextmanager
async def open_store(url: str, *, clock: Clock | None = None, migrate: bool = True) -> AsyncIterator[SqlStore]:
    """Opens ``sqlite:////path/to/runner.db`` or ``postgresql+psycopg://user@host/database``.

    ``clock`` stamps everything; without one it is the machine's on SQLite and the database's on PostgreSQL. The
    schema is brought up to date unless ``migrate`` is false. Leaving the context finishes what was asked for.

    Raises:
        SchemaTooNew: The database belongs to a newer version of this service.
        SchemaOutdated: It belongs to an older one, and ``migrate`` is false.
        ValueError: The URL names neither engine, or no file.
    """
    name = make_url(url).get_backend_name()
    if name == "sqlite":
        async with _open_sqlite(url, clock, migrate) as store:
            yield store
    elif name == "postgresql":
        # Here, because psycopg is an extra of its own.
        from runner_service.store.postgres import open_postgres

        async with open_postgres(url, clock, migrate) as store:
            yield store
    else:
        raise ValueError(f"a store is on sqlite or postgresql+psycopg, not on {name}")


@asynccontextmanager
async def _open_sqlite(url: str, clock: Clock | None, migrate: bool) -> AsyncIterator[SqlStore]:
    from runner_service.store.sqlite import SqliteEngine

    database = make_url(url).database
    if not database or database == ":memory:":
        raise ValueError("a store on SQLite needs a file: sqlite:////absolute/path/runner.db")
    engine = SqliteEngine(Path(database), clock)
    await asyncio.to_thread(upgrade, engine.sql, migrate=migrate)
    engine.start()
    try:
        yield SqlStore(engine, LocalSignals())
    finally:
        await engine.close()
