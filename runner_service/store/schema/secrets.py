"""Secrets, sealed."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, LargeBinary, Table, Text

from runner_service.store.schema.base import metadata, word

secrets = Table(
    "secrets",
    metadata,
    Column("name", word(), primary_key=True),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
