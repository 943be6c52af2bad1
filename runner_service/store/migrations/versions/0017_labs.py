"""Labs: where a job was popped from, what agents say beyond the known, and when a queue was last told of."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0017"
down_revision = "0016"


def word() -> TypeEngine[str]:
    return sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("queue_jobs", sa.Column("peer", word(), nullable=False, server_default=""))
    op.add_column("lab_agents", sa.Column("extra", sa.Text(), nullable=False, server_default="{}"))
    op.add_column("lab_queues", sa.Column("updated_at", sa.BigInteger(), nullable=False, server_default="0"))
    # They are as good as told of now.
    op.get_bind().execute(sa.text("UPDATE lab_queues SET updated_at = :now"), {"now": time.time_ns() // 1000})
