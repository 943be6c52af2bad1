"""Marks: that a request was carried out, and what must be known to answer it, are stored with what it does."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.add_column("answers", sa.Column("told", sa.SmallInteger(), nullable=False, server_default="1"))
    op.add_column("answers", sa.Column("note", sa.Text(), nullable=False, server_default=""))
    # They held credentials, sealed; those are derived now.
    op.execute("DELETE FROM answers WHERE method = '/runner.v1.AuthService/CreateApiKey'")
