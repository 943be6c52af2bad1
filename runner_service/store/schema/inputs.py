"""The input of jobs."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, LargeBinary, SmallInteger, Table

from runner_service.store.schema.base import metadata, word

inputs = Table(
    "inputs",
    metadata,
    Column("job_id", word(), primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
    Column("written_offset", BigInteger, nullable=False),
    # Of the attempt that has written so far.
    Column("fence", BigInteger, nullable=False),
    Column("ended", SmallInteger, nullable=False),
    # 1: kept for another attempt.
    Column("kept", SmallInteger, nullable=False),
    sqlite_with_rowid=False,
)

# How much each writer of a job has given.
input_writers = Table(
    "input_writers",
    metadata,
    Column("job_id", word(), primary_key=True),
    Column("writer_id", word(), primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
    # Where the job's input was behind the last of it: who wrote least lately has the smallest.
    Column("behind", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

input_records = Table(
    "input_records",
    metadata,
    Column("job_id", word(), primary_key=True),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("behind", BigInteger, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("payload", LargeBinary, nullable=False),
)
