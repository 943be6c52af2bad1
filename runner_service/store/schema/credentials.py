"""What can be shown to be let in."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, SmallInteger, Table, Text

from runner_service.store.schema.base import metadata, word

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", word(), primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
)

clients = Table(
    "clients",
    metadata,
    Column("client_id", word(), primary_key=True),
    Column("secret_hash", Text, nullable=False),
    Column("role", Text, nullable=False),
    # Priorities, queues, reservation times and address: read together, searched never.
    Column("permissions", Text, nullable=False),
    Column("built_in", SmallInteger, nullable=False),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("client_id", word(), nullable=False),
    Column("issued_at", BigInteger, nullable=False),
    Column("used_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Index("refresh_tokens_of_client", "client_id"),
)
