"""The journals of attempts."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Connection, LargeBinary, Table, Text, event

from runner_service.store.schema.base import metadata, word

log_chunks = Table(
    "log_chunks",
    metadata,
    # A table with row ids on SQLite: its b-tree keeps large values out of the inner pages.
    Column("attempt_id", word(), primary_key=True),
    Column("first_sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("records", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("journal", LargeBinary, nullable=False),
)


@event.listens_for(log_chunks, "after_create")
def _keep_as_it_is(_target: Table, connection: Connection, **_: object) -> None:
    if connection.dialect.name == "postgresql":
        # Compressing output again and again would cost more than the disk it saves.
        connection.exec_driver_sql("ALTER TABLE log_chunks ALTER COLUMN journal SET STORAGE EXTERNAL")


log_archives = Table(
    "log_archives",
    metadata,
    Column("attempt_id", word(), primary_key=True),
    Column("blob_key", Text, nullable=False),
    Column("index", LargeBinary, nullable=False),
)
