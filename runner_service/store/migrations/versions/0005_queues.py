"""Lab queues: their jobs, what agents post about them, the agents, and who may push where."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0005"
down_revision = "0004"


def word() -> TypeEngine[str]:
    return sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")


def text_columns(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def word_columns(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, word(), nullable=False) for name in names]


def integers(*names: str, nullable: bool = False) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=nullable) for name in names]


def flag(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.SmallInteger(), nullable=False)


def index(name: str, table: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)


def upgrade() -> None:
    op.create_table(
        "queue_jobs",
        *word_columns("job_id", "queue", "client_id", "agent", "phase"),
        *text_columns("attachments"),
        *integers("lease_us"),
        *integers("lease_until", "popped_at", "wait_us", nullable=True),
        *text_columns("definition"),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_index("queue_jobs_of_queue", "queue_jobs", ["queue", "job_id"])
    index("queue_jobs_leases", "queue_jobs", ["lease_until"], "lease_until IS NOT NULL")
    index("queue_jobs_waits", "queue_jobs", ["queue", "popped_at", "wait_us"], "popped_at IS NOT NULL")

    op.create_table(
        "lab_records",
        *word_columns("job_id"),
        *integers("touched_at"),
        sa.PrimaryKeyConstraint("job_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("lab_records_by_age", "lab_records", ["touched_at"])
    op.create_table(
        "lab_results",
        *word_columns("job_id", "name"),
        *text_columns("value"),
        sa.PrimaryKeyConstraint("job_id", "name"),
    )
    op.create_table(
        "lab_output",
        *word_columns("job_id", "kind"),
        *integers("arrival"),
        *word_columns("phase"),
        *integers("fragment"),
        *word_columns("at"),
        *integers("size"),
        *text_columns("data"),
        sa.PrimaryKeyConstraint("job_id", "kind", "arrival"),
    )
    op.create_index("lab_output_once", "lab_output", ["job_id", "kind", "phase", "fragment"], unique=True)
    op.create_table(
        "lab_readers",
        *word_columns("job_id", "kind", "reader"),
        *integers("arrival"),
        sa.PrimaryKeyConstraint("job_id", "kind", "reader"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "lab_files",
        *word_columns("job_id", "kind"),
        *text_columns("blob_key"),
        *integers("size"),
        *text_columns("sha256", "media_type"),
        sa.PrimaryKeyConstraint("job_id", "kind"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "lab_agents",
        *word_columns("name"),
        *text_columns("state", "queues", "location", "provision_type", "job_id", "identifier", "comment"),
        *integers("updated_at"),
        *text_columns("streak_type"),
        *integers("streak_count"),
        flag("lost"),
        *word_columns("client_id"),
        *text_columns("log"),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "lab_provision_logs",
        *word_columns("agent"),
        *integers("number"),
        *text_columns("job_id"),
        *integers("exit_code"),
        *text_columns("detail"),
        *integers("at"),
        sa.PrimaryKeyConstraint("agent", "number"),
    )
    op.create_table(
        "lab_queues",
        *word_columns("queue"),
        sa.Column("description", sa.Text()),
        sa.Column("images", sa.Text()),
        flag("restricted"),
        sa.PrimaryKeyConstraint("queue"),
    )
    op.create_table(
        "lab_queue_owners",
        *word_columns("queue", "client_id"),
        sa.PrimaryKeyConstraint("queue", "client_id"),
        sqlite_with_rowid=False,
    )
