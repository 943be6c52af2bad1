"""Ends of sessions have a place among the reports, so that who follows those is told of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    # What has expired before was told of by nobody, and is not now.
    op.add_column("report_sessions", sa.Column("expired_sequence", sa.BigInteger()))
    known = sa.text("expired_sequence IS NOT NULL")
    op.create_index(
        "report_sessions_expired",
        "report_sessions",
        ["expired_sequence"],
        sqlite_where=known,
        postgresql_where=known,
    )
