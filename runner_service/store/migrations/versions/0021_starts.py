"""Attempts that were started by the answer to a report are told from those that a list has shown."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.add_column("attempts", sa.Column("came_with", sa.BigInteger(), nullable=False, server_default="0"))
