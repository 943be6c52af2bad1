"""Artifacts and their parts."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table, Text

from runner_service.store.schema.base import metadata, word

artifacts = Table(
    "artifacts",
    metadata,
    Column("artifact_id", word(), primary_key=True),
    Column("name", Text, nullable=False),
    Column("job_id", word(), nullable=False),
    Column("attempt_id", word(), nullable=False),
    Column("media_type", Text, nullable=False),
    Column("state", word(), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", word(), nullable=False),
    # Empty ones are made unique by the artifact's id.
    Column("request_id", word(), nullable=False),
    # Ids sort by age, and so do these.
    Index("artifacts_of_job", "job_id", "artifact_id"),
    Index("artifacts_by_request", "created_by", "request_id", unique=True),
    Index("artifacts_by_state", "state", "created_at"),
)

artifact_parts = Table(
    "artifact_parts",
    metadata,
    Column("artifact_id", word(), primary_key=True),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("blob_key", Text, nullable=False),
    Index("artifact_parts_by_blob", "blob_key"),
)
