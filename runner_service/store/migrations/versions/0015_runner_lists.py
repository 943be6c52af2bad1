"""Tags carry the order of the list of runners, and the index of a job's part of a feed the order of its entries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0015"
down_revision = "0014"


def word() -> TypeEngine[str]:
    return sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.rename_table("runner_tags", "runner_tags_before")
    op.drop_index("runner_tags_of_runner", "runner_tags_before")
    if op.get_bind().dialect.name == "postgresql":
        # Names of constraints are those of indexes there, which are unique.
        op.execute("ALTER TABLE runner_tags_before RENAME CONSTRAINT runner_tags_pkey TO runner_tags_before_pkey")
    op.create_table(
        "runner_tags",
        sa.Column("tag", word(), nullable=False),
        sa.Column("registered_at", sa.BigInteger(), nullable=False),
        sa.Column("runner_id", word(), nullable=False),
        sa.PrimaryKeyConstraint("tag", "registered_at", "runner_id"),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO runner_tags (tag, registered_at, runner_id)"
        " SELECT tag, registered_at, runner_id FROM runner_tags_before JOIN runners USING (runner_id)"
    )
    op.drop_table("runner_tags_before")
    op.create_index("runner_tags_of_runner", "runner_tags", ["runner_id"])
    op.drop_index("runner_feed_of_job", "runner_feed")
    bound = sa.text("job_id <> ''")
    op.create_index(
        "runner_feed_of_job", "runner_feed", ["job_id", "first"], sqlite_where=bound, postgresql_where=bound
    )
