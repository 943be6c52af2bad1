"""The first schema: jobs, attempts, logs, runners, events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0001"
down_revision = None


def word() -> TypeEngine[str]:
    return sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")


def serial() -> TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def index(name: str, table: str, columns: list[str | sa.TextClause], where: str | None = None) -> None:
    condition = None if where is None else sa.text(where)
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)


def upgrade() -> None:
    op.create_table(
        "attempts",
        sa.Column("attempt_id", word(), nullable=False),
        sa.Column("job_id", word(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("runner_id", word(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("state", word(), nullable=False),
        sa.Column("assigned_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("reported", sa.SmallInteger(), nullable=False),
        sa.Column("log_next", sa.BigInteger(), nullable=False),
        sa.Column("log_stdout", sa.BigInteger(), nullable=False),
        sa.Column("log_stderr", sa.BigInteger(), nullable=False),
        sa.Column("log_bytes", sa.BigInteger(), nullable=False),
        sa.Column("log_state", sa.SmallInteger(), nullable=False),
        sa.Column("log_sha256", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("attempt_id"),
        sqlite_with_rowid=False,
    )
    index("attempts_active", "attempts", ["runner_id", "state", "assigned_at"], "state <> 'FINISHED'")
    index(
        "attempts_archivable",
        "attempts",
        ["attempt_id", "log_state", "log_bytes"],
        "log_state > 0 AND log_bytes >= 262144",
    )
    index("attempts_of_job", "attempts", ["job_id"])

    op.create_table(
        "job_bodies",
        sa.Column("job_id", word(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_table(
        "job_events",
        sa.Column("sequence", serial(), autoincrement=True, nullable=False),
        sa.Column("job_id", word(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("attempt_id", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
        sqlite_autoincrement=True,
    )
    index("job_events_of_job", "job_events", ["job_id", "sequence"])

    op.create_table(
        "job_tags",
        sa.Column("name", word(), nullable=False),
        sa.Column("value", word(), nullable=False),
        sa.Column("job_id", word(), nullable=False),
        sa.PrimaryKeyConstraint("name", "value", "job_id"),
        sqlite_with_rowid=False,
    )
    index("job_tags_of_job", "job_tags", ["job_id"])

    op.create_table(
        "jobs",
        sa.Column("job_id", word(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", word(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("origin", word(), nullable=False),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("attempt_id", word(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("runner_id", word(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("cancel", sa.Text(), nullable=True),
        sa.Column("requirement", sa.BigInteger(), nullable=False),
        sa.Column("loss_wait_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job_id"),
        sqlite_with_rowid=False,
    )
    index("jobs_by_state", "jobs", ["origin", "state", "created_at", "job_id"])
    index("jobs_finished", "jobs", ["finished_at"], "finished_at IS NOT NULL")
    index("jobs_newest", "jobs", ["created_at", "job_id"])
    index("jobs_newest_of_origin", "jobs", ["origin", "created_at", "job_id"])
    index(
        "jobs_queue",
        "jobs",
        ["requirement", sa.text("priority DESC"), "created_at", "job_id", "not_before", "state"],
        "state = 'QUEUED'",
    )

    op.create_table(
        "log_archives",
        sa.Column("attempt_id", word(), nullable=False),
        sa.Column("blob_key", sa.Text(), nullable=False),
        sa.Column("index", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("attempt_id"),
    )
    op.create_table(
        "log_chunks",
        sa.Column("attempt_id", word(), nullable=False),
        sa.Column("first_sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("journal", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("attempt_id", "first_sequence"),
    )
    op.create_table(
        "queue_changes",
        sa.Column("id", serial(), autoincrement=True, nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "requests",
        sa.Column("origin", word(), nullable=False),
        sa.Column("created_by", word(), nullable=False),
        sa.Column("request_id", word(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("job_id", word(), nullable=False),
        sa.PrimaryKeyConstraint("origin", "created_by", "request_id"),
        sqlite_with_rowid=False,
    )
    index("requests_of_job", "requests", ["job_id"])

    op.create_table(
        "runners",
        sa.Column("runner_id", word(), nullable=False),
        sa.Column("name", word(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("registered_at", sa.BigInteger(), nullable=False),
        sa.Column("credential_hash", sa.LargeBinary(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("slots", sa.BigInteger(), nullable=False),
        sa.Column("local", sa.SmallInteger(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("boot_id", sa.Text(), nullable=False),
        sa.Column("session_id", word(), nullable=False),
        sa.Column("sync_number", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_at", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("runner_id"),
    )
    index("runners_by_name", "runners", ["name", "runner_id"])

    if op.get_bind().dialect.name == "postgresql":
        # Output is stored as it is: compressing it again and again would cost more than the disk it saves.
        op.execute("ALTER TABLE log_chunks ALTER COLUMN journal SET STORAGE EXTERNAL")
