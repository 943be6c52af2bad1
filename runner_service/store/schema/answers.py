"""Answers to requests that bear an id."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, SmallInteger, Table, Text

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
    # 0: it was carried out, and nobody was told yet, as far as is known. 1: `answer` was given.
    Column("told", SmallInteger, nullable=False, server_default="1"),
    # What must be known to answer it.
    Column("note", Text, nullable=False, server_default=""),
    Index("answers_by_age", "at"),
)
