"""Until when a job may be queued."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("queue_deadline", sa.BigInteger(), nullable=True))
    waiting = sa.text("state = 'QUEUED' AND queue_deadline IS NOT NULL")
    op.create_index("jobs_queue_deadline", "jobs", ["queue_deadline"], sqlite_where=waiting, postgresql_where=waiting)
