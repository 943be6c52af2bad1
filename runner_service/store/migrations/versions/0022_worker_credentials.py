"""Credentials of workers have an end, and a runner has more than one of them while they follow each other."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0022"
down_revision = "0021"

_DAYS = 7
"""Those that were made before had no end: their workers have this long to come by for another."""


def word() -> TypeEngine[str]:
    return sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "worker_credentials",
        sa.Column("runner_id", word(), primary_key=True),
        sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("nonce", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )
    expires_at = time.time_ns() // 1_000 + _DAYS * 86_400_000_000
    op.execute(
        "INSERT INTO worker_credentials (runner_id, number, digest, nonce, expires_at) "
        f"SELECT runner_id, 1, credential_hash, '', {expires_at} FROM runners"
    )
    op.drop_column("runners", "credential_hash")
