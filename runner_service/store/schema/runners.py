"""Registered machines: what every Sync writes in one table, what is seldom changed in others."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    text,
)

from runner_service.store.schema.base import metadata, serial, word

runners = Table(
    "runners",
    metadata,
    Column("runner_id", word(), primary_key=True),
    Column("name", word(), nullable=False),
    Column("state", Text, nullable=False),
    Column("registered_at", BigInteger, nullable=False),
    Column("labels", Text, nullable=False),
    Column("slots", BigInteger, nullable=False),
    Column("local", SmallInteger, nullable=False),
    Column("version", Text, nullable=False),
    Column("boot_id", Text, nullable=False),
    Column("spool_id", Text, nullable=False, server_default=""),
    Column("session_id", word(), nullable=False),
    Column("sync_number", BigInteger, nullable=False),
    Column("last_seen_at", BigInteger, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    Column("kind", word(), nullable=False),
    Column("hosted", SmallInteger, nullable=False),
    Column("state_since", BigInteger, nullable=False),
    Column("up_us", BigInteger, nullable=False),
    Column("told", Text, nullable=False),
    Column("most_jobs", BigInteger, nullable=False),
    Column("load", Text, nullable=False),
    # What its worker last said that it was told.
    Column("paused", SmallInteger, nullable=False),
    Index("runners_by_name", "name", "runner_id"),
    Index("runners_by_age", "registered_at", "runner_id"),
    Index("runners_by_state", "state", "registered_at", "runner_id"),
    Index("runners_by_kind", "kind", "registered_at", "runner_id"),
)
Index("runners_local", runners.c.runner_id, sqlite_where=text("local = 1"), postgresql_where=text("local = 1"))

worker_credentials = Table(
    "worker_credentials",
    metadata,
    Column("runner_id", word(), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", LargeBinary, nullable=False),
    # Empty once it need not be told again.
    Column("nonce", Text, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

runner_profiles = Table(
    "runner_profiles",
    metadata,
    Column("runner_id", word(), primary_key=True),
    Column("host", Text, nullable=False),
    Column("port", BigInteger, nullable=False),
    Column("capabilities", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("resources", Text, nullable=False),
    Column("config", Text, nullable=False),
    Column("config_at", BigInteger, nullable=False),
)

runner_tags = Table(
    "runner_tags",
    metadata,
    Column("tag", word(), primary_key=True),
    # As in the runner's row, so that a page in this order is walked, not sorted.
    Column("registered_at", BigInteger, primary_key=True, autoincrement=False),
    Column("runner_id", word(), primary_key=True),
    Index("runner_tags_of_runner", "runner_id"),
    sqlite_with_rowid=False,
)

runner_checks = Table(
    "runner_checks",
    metadata,
    Column("runner_id", word(), primary_key=True),
    # Of the check that the report answers.
    Column("number", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("report", Text, nullable=False),
)

runner_events = Table(
    "runner_events",
    metadata,
    Column("sequence", serial(), primary_key=True, autoincrement=True),
    Column("runner_id", word(), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("old_state", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Index("runner_events_by_age", "at"),
    # A sequence is never given twice, also when the newest event was deleted.
    sqlite_autoincrement=True,
)

Index(
    "runner_events_deleted",
    runner_events.c.runner_id,
    sqlite_where=text("kind = 'deleted'"),
    postgresql_where=text("kind = 'deleted'"),
)

runner_feed = Table(
    "runner_feed",
    metadata,
    Column("runner_id", word(), primary_key=True),
    # Number of the first of its entries, which are dense.
    Column("first", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("debug", BigInteger, nullable=False),
    Column("info", BigInteger, nullable=False),
    Column("warn", BigInteger, nullable=False),
    Column("error", BigInteger, nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("job_id", word(), nullable=False),
    Column("attempt_id", word(), nullable=False),
    Column("first_record", BigInteger, nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("before", Text, nullable=False),
    Column("word", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("event", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
# Counts of a range of time read nothing else.
Index(
    "runner_feed_by_time",
    runner_feed.c.runner_id,
    runner_feed.c.last_at,
    runner_feed.c.first_at,
    runner_feed.c.debug,
    runner_feed.c.info,
    runner_feed.c.warn,
    runner_feed.c.error,
)
Index(
    "runner_feed_of_job",
    runner_feed.c.job_id,
    runner_feed.c.first,
    sqlite_where=text("job_id <> ''"),
    postgresql_where=text("job_id <> ''"),
)

runner_feed_heads = Table(
    "runner_feed_heads",
    metadata,
    Column("runner_id", word(), primary_key=True),
    # Number of the next entry. Its row is the lock that makes the numbers those of commit order.
    Column("next", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

runner_feed_logs = Table(
    "runner_feed_logs",
    metadata,
    Column("attempt_id", word(), primary_key=True),
    # Where its unfinished lines begin, while its log is open.
    Column("state", Text, nullable=False),
    sqlite_with_rowid=False,
)

runner_samples = Table(
    "runner_samples",
    metadata,
    Column("runner_id", word(), primary_key=True),
    Column("width", BigInteger, primary_key=True, autoincrement=False),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("samples", BigInteger, nullable=False),
    Column("cpu", Double, nullable=False),
    Column("cpu_most", Double, nullable=False),
    Column("memory", Double, nullable=False),
    Column("memory_most", Double, nullable=False),
    Column("disk", Double, nullable=False),
    Column("active", Double, nullable=False),
    Index("runner_samples_by_age", "width", "start"),
    sqlite_with_rowid=False,
)
