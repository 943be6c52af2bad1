"""Each writer of a job's input has places of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0013"
down_revision = "0012"


def word() -> TypeEngine[str]:
    return sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "input_writers",
        sa.Column("job_id", word(), nullable=False),
        sa.Column("writer_id", word(), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.Column("behind", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "writer_id"),
        sqlite_with_rowid=False,
    )
