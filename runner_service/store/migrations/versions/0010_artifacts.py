"""Artifacts and their parts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0010"
down_revision = "0009"


def word() -> TypeEngine[str]:
    return sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "artifacts",
        sa.Column("artifact_id", word(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("job_id", word(), nullable=False),
        sa.Column("attempt_id", word(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("state", word(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", word(), nullable=False),
        sa.Column("request_id", word(), nullable=False),
        sa.PrimaryKeyConstraint("artifact_id"),
    )
    op.create_index("artifacts_by_request", "artifacts", ["created_by", "request_id"], unique=True)
    op.create_index("artifacts_by_state", "artifacts", ["state", "created_at"])
    op.create_index("artifacts_of_job", "artifacts", ["job_id", "artifact_id"])
    op.create_table(
        "artifact_parts",
        sa.Column("artifact_id", word(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("blob_key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("artifact_id", "offset"),
    )
