"""Runners that were deleted are known as such, so that their workers end."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    condition = sa.text("kind = 'deleted'")
    op.create_index(
        "runner_events_deleted",
        "runner_events",
        ["runner_id"],
        sqlite_where=condition,
        postgresql_where=condition,
    )
