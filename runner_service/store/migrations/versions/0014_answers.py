"""Requests that are repeated get the answer that they got before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0014"
down_revision = "0013"


def word() -> TypeEngine[str]:
    return sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "answers",
        sa.Column("caller", word(), nullable=False),
        sa.Column("method", word(), nullable=False),
        sa.Column("request_id", word(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "method", "request_id"),
    )
    op.create_index("answers_by_age", "answers", ["at"])
    op.add_column("queue_jobs", sa.Column("pop_key", word(), nullable=True))
    popped = sa.text("pop_key IS NOT NULL")
    op.create_index("queue_jobs_pops", "queue_jobs", ["pop_key"], sqlite_where=popped, postgresql_where=popped)
