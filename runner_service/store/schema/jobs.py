"""Jobs, their attempts and their events."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    text,
)

from runner_service.store.schema.base import metadata, serial, word

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", word(), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", word(), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("origin", word(), nullable=False),
    Column("priority", BigInteger, nullable=False),
    Column("not_before", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("attempt_id", word(), nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("runner_id", word(), nullable=False),
    Column("outcome", Text),
    Column("cancel", Text),
    # Derived from the body: a 64-bit digest of the required labels (0: none), and how long a loss is waited out.
    Column("requirement", BigInteger, nullable=False),
    Column("loss_wait_us", BigInteger, nullable=False),
    # Until when it may be QUEUED; NULL: for ever.
    Column("queue_deadline", BigInteger),
    # The runner that the required labels name; empty: any.
    Column("bound_to", word(), nullable=False),
    sqlite_with_rowid=False,
)

# Claims walk this index alone, one requirement after the other, whatever else is queued.
Index(
    "jobs_queue",
    jobs.c.requirement,
    jobs.c.priority.desc(),
    jobs.c.created_at,
    jobs.c.job_id,
    jobs.c.not_before,
    jobs.c.state,  # constant here, but SQLite reads the table for what an index lacks
    sqlite_where=text("state = 'QUEUED'"),
    postgresql_where=text("state = 'QUEUED'"),
)
Index(
    "jobs_queue_deadline",
    jobs.c.queue_deadline,
    sqlite_where=text("state = 'QUEUED' AND queue_deadline IS NOT NULL"),
    postgresql_where=text("state = 'QUEUED' AND queue_deadline IS NOT NULL"),
)
Index("jobs_newest", jobs.c.created_at, jobs.c.job_id)
Index("jobs_newest_of_origin", jobs.c.origin, jobs.c.created_at, jobs.c.job_id)
Index("jobs_by_state", jobs.c.origin, jobs.c.state, jobs.c.created_at, jobs.c.job_id)
Index(
    "jobs_finished",
    jobs.c.finished_at,
    sqlite_where=text("finished_at IS NOT NULL"),
    postgresql_where=text("finished_at IS NOT NULL"),
)
Index(
    "jobs_bound",
    jobs.c.bound_to,
    jobs.c.created_at,
    jobs.c.job_id,
    sqlite_where=text("bound_to <> ''"),
    postgresql_where=text("bound_to <> ''"),
)
# Statistics of a runner read nothing but these two.
Index(
    "jobs_bound_by_state",
    jobs.c.bound_to,
    jobs.c.state,
    jobs.c.finished_at,
    jobs.c.started_at,
    sqlite_where=text("bound_to <> ''"),
    postgresql_where=text("bound_to <> ''"),
)
Index(
    "jobs_ended_of_runner",
    jobs.c.runner_id,
    jobs.c.state,
    jobs.c.finished_at,
    jobs.c.started_at,
    sqlite_where=text("bound_to = '' AND finished_at IS NOT NULL"),
    postgresql_where=text("bound_to = '' AND finished_at IS NOT NULL"),
)

job_bodies = Table(
    "job_bodies",
    metadata,
    Column("job_id", word(), primary_key=True),
    Column("body", Text, nullable=False),
)

job_tags = Table(
    "job_tags",
    metadata,
    Column("name", word(), primary_key=True),
    Column("value", word(), primary_key=True),
    Column("job_id", word(), primary_key=True),
    Index("job_tags_of_job", "job_id"),
    sqlite_with_rowid=False,
)

requests = Table(
    "requests",
    metadata,
    Column("origin", word(), primary_key=True),
    Column("created_by", word(), primary_key=True),
    Column("request_id", word(), primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("job_id", word(), nullable=False),
    Index("requests_of_job", "job_id"),
    sqlite_with_rowid=False,
)

queue_changes = Table(
    "queue_changes",
    metadata,
    Column("id", serial(), primary_key=True, autoincrement=True),
    Column("change", BigInteger, nullable=False),
)
"""Their sum is the number of QUEUED jobs: everyone appends, only creators fold, so that no claimer waits."""

job_events = Table(
    "job_events",
    metadata,
    Column("sequence", serial(), primary_key=True, autoincrement=True),
    Column("job_id", word(), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("attempt_id", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Index("job_events_of_job", "job_id", "sequence"),
    # A sequence is never given twice, also when the newest event was deleted.
    sqlite_autoincrement=True,
)

attempts = Table(
    "attempts",
    metadata,
    Column("attempt_id", word(), primary_key=True),
    Column("job_id", word(), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("runner_id", word(), nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("state", word(), nullable=False),
    Column("assigned_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("outcome", Text),
    # 1: its runner reported the end; 0 and FINISHED: the server gave it up, and a report comes too late.
    Column("reported", SmallInteger, nullable=False),
    # How its log stands. `log_bytes` counts the journal that is still in rows.
    Column("log_next", BigInteger, nullable=False),
    Column("log_stdout", BigInteger, nullable=False),
    Column("log_stderr", BigInteger, nullable=False),
    Column("log_bytes", BigInteger, nullable=False),
    Column("log_state", SmallInteger, nullable=False),
    Column("log_sha256", LargeBinary),
    # The runner that its job is bound to; empty: any.
    Column("bound_to", word(), nullable=False),
    # Until a list has shown it: the number of the report whose answer said that it is to be started.
    Column("came_with", BigInteger, nullable=False, server_default="0"),
    Index("attempts_of_job", "job_id"),
    sqlite_with_rowid=False,
)
Index(
    "attempts_active",
    attempts.c.runner_id,
    attempts.c.state,
    attempts.c.assigned_at,
    sqlite_where=text("state <> 'FINISHED'"),
    postgresql_where=text("state <> 'FINISHED'"),
)
Index(
    "attempts_archivable",
    attempts.c.attempt_id,
    attempts.c.log_state,
    attempts.c.log_bytes,
    sqlite_where=text("log_state > 0 AND log_bytes >= 262144"),
    postgresql_where=text("log_state > 0 AND log_bytes >= 262144"),
)
Index(
    "attempts_bound",
    attempts.c.bound_to,
    attempts.c.state,
    sqlite_where=text("bound_to <> '' AND state <> 'FINISHED'"),
    postgresql_where=text("bound_to <> '' AND state <> 'FINISHED'"),
)
