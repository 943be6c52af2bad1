"""Secrets of clients of labs, sealed."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table

from runner_service.store.schema.base import metadata, word

lab_secrets = Table(
    "lab_secrets",
    metadata,
    Column("client_id", word(), primary_key=True),
    Column("path", word(), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("expires_at", BigInteger, nullable=True),
    Column("ephemeral", Integer, nullable=False),
    Column("taken_by", word(), nullable=True),
    Column("taken_at", BigInteger, nullable=True),
)
