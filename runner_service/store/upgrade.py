"""Brings a database to the schema of this version, and refuses one that is ahead of it.

An empty database gets the tables as they are now, in one transaction. An older one goes through the migrations: only
for it Alembic is loaded, which takes 11 MB for as long as the server lives. A test holds both ways to one result. All
of them are one transaction, on SQLite too: whatever cuts it off, the database is as it was.
"""

from __future__ import annotations

import logging
from pathlib import Path

import sqlalchemy
from sqlalchemy import Connection

from runner_service.store.schema import FIRST_ROWS, REVISION, metadata

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x52554E4D
"""On PostgreSQL one server migrates, the others wait for it."""


class SchemaTooNew(Exception):
    """The database was written by a newer version of this service ({found}); this one knows {known}. Upgrade the
    service, or restore the backup that was made before."""

    def __init__(self, found: str) -> None:
        super().__init__(" ".join((self.__doc__ or "").split()).format(found=found, known=REVISION))


class SchemaOutdated(Exception):
    """The database has the schema {found}, and {known} is needed. Start once without --no-migrate."""

    def __init__(self, found: str) -> None:
        super().__init__((self.__doc__ or "").format(found=found or "of no version", known=REVISION))


def upgrade(engine: sqlalchemy.Engine, *, migrate: bool) -> None:
    """Opens the database's schema; a current one is only looked at.

    Raises:
        SchemaTooNew: A newer version was here.
        SchemaOutdated: It is old and ``migrate`` is false.
    """
    with engine.connect() as connection:
        found = revision_of(connection)
        if found == REVISION:
            return
        if not migrate:
            _refuse_unknown(found)
            raise SchemaOutdated(found)
        if connection.dialect.name == "postgresql":
            connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
            connection.commit()
        try:
            found = revision_of(connection)
            if found != REVISION:
                _refuse_unknown(found)
                if not _create(connection):
                    _migrate(connection)
                    log.info(
                        "the database was brought from schema %s to %s",
                        found or "-",
                        REVISION,
                        extra={"action": "migrated", "found": found, "revision": REVISION},
                    )
        finally:
            connection.rollback()
            if connection.dialect.name == "postgresql":
                connection.execute(sqlalchemy.text("SELECT pg_advisory_unlock(:lock)"), {"lock": _LOCK})
                connection.commit()


def revision_of(connection: Connection) -> str:
    """The revision of a database; empty when there is none yet."""
    if not sqlalchemy.inspect(connection).has_table("alembic_version"):
        return ""
    found = connection.execute(sqlalchemy.text("SELECT version_num FROM alembic_version")).scalar()
    return str(found or "")


def _refuse_unknown(found: str) -> None:
    if found and not any(path.name.startswith(f"{found}_") for path in (MIGRATIONS / "versions").glob("*.py")):
        raise SchemaTooNew(found)


def _begin(connection: Connection) -> None:
    connection.rollback()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # The driver leaves beginning to us.


def _create(connection: Connection) -> bool:
    """Makes the newest schema in an empty database; False when this one is not empty."""
    _begin(connection)
    if sqlalchemy.inspect(connection).get_table_names():
        return False
    versions = sqlalchemy.Table(
        "alembic_version",
        sqlalchemy.MetaData(),
        sqlalchemy.Column("version_num", sqlalchemy.String(32), nullable=False),
    )
    versions.append_constraint(sqlalchemy.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"))
    metadata.create_all(connection, checkfirst=False)
    for table, rows in FIRST_ROWS.items():
        connection.execute(sqlalchemy.insert(table), rows)
    versions.create(connection)
    connection.execute(sqlalchemy.insert(versions), {"version_num": REVISION})
    connection.commit()
    return True


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    _begin(connection)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    connection.commit()
