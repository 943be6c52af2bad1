"""Registered machines."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
)

from runner_service.store.schema.base import metadata, word

runners = Table(
    "runners",
    metadata,
    Column("runner_id", word(), primary_key=True),
    Column("name", word(), nullable=False),
    Column("state", Text, nullable=False),
    Column("registered_at", BigInteger, nullable=False),
    Column("credential_hash", LargeBinary, nullable=False),
    Column("labels", Text, nullable=False),
    Column("slots", BigInteger, nullable=False),
    Column("local", SmallInteger, nullable=False),
    Column("version", Text, nullable=False),
    Column("boot_id", Text, nullable=False),
    Column("spool_id", Text, nullable=False, server_default=""),
    Column("session_id", word(), nullable=False),
    Column("sync_number", BigInteger, nullable=False),
    Column("last_seen_at", BigInteger, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    Index("runners_by_name", "name", "runner_id"),
)
