"""Managed agents."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, SmallInteger, Table, Text, text

from runner_service.store.schema.base import metadata, word

agents = Table(
    "agents",
    metadata,
    Column("job_id", word(), primary_key=True),
    Column("name", Text, nullable=False),
    Column("image", Text, nullable=False),
    Column("image_id", word(), nullable=False),
    Column("manifest", LargeBinary, nullable=False),
    Column("model", Text, nullable=False),
    Column("parameters", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
    # Up to where its output is in counts and events.
    Column("read_attempt_id", word(), nullable=False),
    Column("read_sequence", BigInteger, nullable=False),
    Column("read_offset", BigInteger, nullable=False),
    Column("removed", SmallInteger, nullable=False),
)

Index(
    "agents_newest",
    agents.c.created_at,
    agents.c.job_id,
    sqlite_where=text("removed = 0"),
    postgresql_where=text("removed = 0"),
)
