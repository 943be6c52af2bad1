"""The journals of attempts."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    LargeBinary,
    Table,
    Text,
)

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

log_archives = Table(
    "log_archives",
    metadata,
    Column("attempt_id", word(), primary_key=True),
    Column("blob_key", Text, nullable=False),
    Column("index", LargeBinary, nullable=False),
)
