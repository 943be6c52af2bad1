"""Answers to requests that bear an id."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Table, Text

from runner_service.store.schema.base import metadata, word

answers = Table(
    "answers",
    metadata,
    Column("caller", word(), primary_key=True),
    Column("method", word(), primary_key=True),
    Column("request_id", word(), primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Index("answers_by_age", "at"),
)
