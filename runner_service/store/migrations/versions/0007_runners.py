"""Runners: profiles, events, feeds, health checks and metrics; jobs that are bound to a runner."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0007"
down_revision = "0006"


def word() -> TypeEngine[str]:
    return sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")


def serial() -> TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def index(name: str, table: str, columns: list[str | sa.TextClause], where: str | None = None) -> None:
    condition = None if where is None else sa.text(where)
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)


def text(name: str, default: str = "") -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False, server_default=default)


def whole(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")


def upgrade() -> None:
    _jobs()
    _runners()
    _feeds()
    _samples()


def _jobs() -> None:
    for table in ("jobs", "attempts"):
        op.add_column(table, sa.Column("bound_to", word(), nullable=False, server_default=""))
    index("jobs_bound", "jobs", ["bound_to", "created_at", "job_id"], "bound_to <> ''")
    index("jobs_bound_by_state", "jobs", ["bound_to", "state", "finished_at", "started_at"], "bound_to <> ''")
    index(
        "jobs_ended_of_runner",
        "jobs",
        ["runner_id", "state", "finished_at", "started_at"],
        "bound_to = '' AND finished_at IS NOT NULL",
    )
    index("attempts_bound", "attempts", ["bound_to", "state"], "bound_to <> '' AND state <> 'FINISHED'")


def _runners() -> None:
    op.add_column("runners", sa.Column("kind", word(), nullable=False, server_default="NATIVE"))
    for name in ("hosted", "paused"):
        op.add_column("runners", sa.Column(name, sa.SmallInteger(), nullable=False, server_default="0"))
    for name in ("state_since", "up_us", "most_jobs"):
        op.add_column("runners", whole(name))
    for name, default in (("told", "{}"), ("load", "[0,0,0,0]")):
        op.add_column("runners", text(name, default))
    op.execute("UPDATE runners SET state_since = registered_at")
    op.execute("UPDATE runners SET kind = 'LOCAL' WHERE local = 1")
    index("runners_by_age", "runners", ["registered_at", "runner_id"])
    index("runners_by_state", "runners", ["state", "registered_at", "runner_id"])
    index("runners_by_kind", "runners", ["kind", "registered_at", "runner_id"])
    index("runners_local", "runners", ["runner_id"], "local = 1")

    op.create_table(
        "runner_profiles",
        sa.Column("runner_id", word(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("port", sa.BigInteger(), nullable=False),
        sa.Column("capabilities", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("resources", sa.Text(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("config_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("runner_id"),
    )
    op.execute(
        "INSERT INTO runner_profiles "
        "SELECT runner_id, '', 0, '[]', '[]', '{}', '[0,0,0]', '{}', registered_at FROM runners"
    )
    op.create_table(
        "runner_tags",
        sa.Column("tag", word(), nullable=False),
        sa.Column("runner_id", word(), nullable=False),
        sa.PrimaryKeyConstraint("tag", "runner_id"),
        sqlite_with_rowid=False,
    )
    index("runner_tags_of_runner", "runner_tags", ["runner_id"])
    op.create_table(
        "runner_checks",
        sa.Column("runner_id", word(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("report", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("runner_id"),
    )
    op.create_table(
        "runner_events",
        sa.Column("sequence", serial(), nullable=False, autoincrement=True),
        sa.Column("runner_id", word(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("old_state", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
        sqlite_autoincrement=True,
    )
    index("runner_events_by_age", "runner_events", ["at"])


def _feeds() -> None:
    op.create_table(
        "runner_feed",
        sa.Column("runner_id", word(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("debug", sa.BigInteger(), nullable=False),
        sa.Column("info", sa.BigInteger(), nullable=False),
        sa.Column("warn", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("job_id", word(), nullable=False),
        sa.Column("attempt_id", word(), nullable=False),
        sa.Column("first_record", sa.BigInteger(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("word", sa.Text(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("event", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("runner_id", "first"),
        sqlite_with_rowid=False,
    )
    index(
        "runner_feed_by_time",
        "runner_feed",
        ["runner_id", "last_at", "first_at", "debug", "info", "warn", "error"],
    )
    index("runner_feed_of_job", "runner_feed", ["job_id"], "job_id <> ''")
    op.create_table(
        "runner_feed_heads",
        sa.Column("runner_id", word(), nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("runner_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "runner_feed_logs",
        sa.Column("attempt_id", word(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("attempt_id"),
        sqlite_with_rowid=False,
    )


def _samples() -> None:
    op.create_table(
        "runner_samples",
        sa.Column("runner_id", word(), nullable=False),
        sa.Column("width", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("start", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("samples", sa.BigInteger(), nullable=False),
        sa.Column("cpu", sa.Double(), nullable=False),
        sa.Column("cpu_most", sa.Double(), nullable=False),
        sa.Column("memory", sa.Double(), nullable=False),
        sa.Column("memory_most", sa.Double(), nullable=False),
        sa.Column("disk", sa.Double(), nullable=False),
        sa.Column("active", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("runner_id", "width", "start"),
        sqlite_with_rowid=False,
    )
    index("runner_samples_by_age", "runner_samples", ["width", "start"])
