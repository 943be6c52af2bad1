"""Who changed what."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table, Text

from runner_service.store.schema.base import metadata, serial, word

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("sequence", serial(), primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("principal", word(), nullable=False),
    Column("role", Text, nullable=False),
    Column("peer", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Index("audit_entries_of_principal", "principal", "sequence"),
    # A number is never given twice, also when the newest entry was deleted.
    sqlite_autoincrement=True,
)
