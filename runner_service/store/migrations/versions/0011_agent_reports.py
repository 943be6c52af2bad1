"""Agents that are observed, their sessions and reports."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0011"
down_revision = "0010"


def word() -> TypeEngine[str]:
    return sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")


def serial() -> TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "reported_agents",
        sa.Column("agent_id", word(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("registered_at", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_at", sa.BigInteger(), nullable=False),
        sa.Column("latest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("agent_id"),
    )
    op.create_index("reported_agents_in_order", "reported_agents", ["registered_at", "agent_id"])
    op.create_table(
        "report_sessions",
        sa.Column("session_id", word(), nullable=False),
        sa.Column("agent_id", word(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("ttl_minutes", sa.BigInteger(), nullable=False),
        sa.Column("reports", sa.BigInteger(), nullable=False),
        sa.Column("current", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("expired_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("session_id"),
    )
    op.create_index("report_sessions_of_agent", "report_sessions", ["agent_id"])
    op.create_index("report_sessions_silent", "report_sessions", ["updated_at"])
    live = sa.text("expired_at IS NULL")
    op.create_index("report_sessions_live", "report_sessions", ["expires_at"], sqlite_where=live, postgresql_where=live)
    op.create_table(
        "agent_reports",
        sa.Column("sequence", serial(), autoincrement=False, nullable=False),
        sa.Column("session_id", word(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("agent_id", word(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reported_at", sa.BigInteger(), nullable=False),
        sa.Column("reported_ns", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
    )
    op.create_index("agent_reports_of_session", "agent_reports", ["session_id", "number"])
    op.create_index("agent_reports_of_agent", "agent_reports", ["agent_id", "reported_at", "reported_ns", "sequence"])
    numbers = op.create_table(
        "report_numbers",
        sa.Column("id", serial(), autoincrement=False, nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(numbers, [{"id": 1, "last": 0}])
