"""Managed agents and their images."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0008"
down_revision = "0007"


def word() -> TypeEngine[str]:
    return sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "agents",
        sa.Column("job_id", word(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("image", sa.Text(), nullable=False),
        sa.Column("image_id", word(), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("read_attempt_id", word(), nullable=False),
        sa.Column("read_sequence", sa.BigInteger(), nullable=False),
        sa.Column("read_offset", sa.BigInteger(), nullable=False),
        sa.Column("removed", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job_id"),
    )
    kept = sa.text("removed = 0")
    op.create_index("agents_newest", "agents", ["created_at", "job_id"], sqlite_where=kept, postgresql_where=kept)

    op.create_table(
        "images",
        sa.Column("image_id", word(), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.Column("files", word(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("image_id"),
    )
    op.create_index("images_by_files", "images", ["files"])
    op.create_table(
        "image_tags",
        sa.Column("realm", word(), nullable=False),
        sa.Column("name", word(), nullable=False),
        sa.Column("tag", word(), nullable=False),
        sa.Column("image_id", word(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("realm", "name", "tag"),
        sqlite_with_rowid=False,
    )
    op.create_index("image_tags_of_image", "image_tags", ["image_id"])
