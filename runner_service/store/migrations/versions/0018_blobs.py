"""Blobs: who names one is found by its key; files of images have a key of their own instead of their digest."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.add_column("images", sa.Column("blob_key", sa.Text(), nullable=False, server_default=""))
    op.execute(
        "UPDATE images SET blob_key = 'images/' || substr(files, 8, 2) || '/' || substr(files, 8) WHERE files <> ''"
    )
    for table in ("images", "artifact_parts", "lab_files"):
        op.create_index(f"{table}_by_blob", table, ["blob_key"])
