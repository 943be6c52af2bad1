"""Runners: the spool of their worker, by which the server knows what was never started."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("runners", sa.Column("spool_id", sa.Text(), nullable=False, server_default=""))
