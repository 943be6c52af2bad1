"""Jobs of lab queues, beside their rows in ``jobs``; and what agents post about them, which may name no job at all."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, SmallInteger, Table, Text, text

from runner_service.store.schema.base import metadata, word

queue_jobs = Table(
    "queue_jobs",
    metadata,
    Column("job_id", word(), primary_key=True),
    Column("queue", word(), nullable=False),
    Column("client_id", word(), nullable=False),
    Column("agent", word(), nullable=False),
    Column("phase", word(), nullable=False),
    Column("attachments", Text, nullable=False),
    Column("lease_us", BigInteger, nullable=False),
    Column("lease_until", BigInteger),
    Column("popped_at", BigInteger),
    Column("wait_us", BigInteger),
    Column("definition", Text, nullable=False),
    # Of the request that popped it last, if that can be repeated.
    Column("pop_key", word()),
    # Address of the agent that popped it, which gives no name when it asks.
    Column("peer", word(), nullable=False, server_default=""),
    Index("queue_jobs_of_queue", "queue", "job_id"),
)
Index(
    "queue_jobs_pops",
    queue_jobs.c.pop_key,
    sqlite_where=text("pop_key IS NOT NULL"),
    postgresql_where=text("pop_key IS NOT NULL"),
)
Index(
    "queue_jobs_leases",
    queue_jobs.c.lease_until,
    sqlite_where=text("lease_until IS NOT NULL"),
    postgresql_where=text("lease_until IS NOT NULL"),
)
Index(
    "queue_jobs_waits",
    queue_jobs.c.queue,
    queue_jobs.c.popped_at,
    queue_jobs.c.wait_us,
    sqlite_where=text("popped_at IS NOT NULL"),
    postgresql_where=text("popped_at IS NOT NULL"),
)

lab_records = Table(
    "lab_records",
    metadata,
    Column("job_id", word(), primary_key=True),
    Column("touched_at", BigInteger, nullable=False),
    Index("lab_records_by_age", "touched_at"),
    sqlite_with_rowid=False,
)
"""Every id that results, output or files were posted for, whether there is such a job or not."""

lab_results = Table(
    "lab_results",
    metadata,
    Column("job_id", word(), primary_key=True),
    Column("name", word(), primary_key=True),
    Column("value", Text, nullable=False),
)

lab_output = Table(
    "lab_output",
    metadata,
    Column("job_id", word(), primary_key=True),
    Column("kind", word(), primary_key=True),
    # In the order of arrival, so that a reader who goes on from here misses no late fragment.
    Column("arrival", BigInteger, primary_key=True, autoincrement=False),
    Column("phase", word(), nullable=False),
    Column("fragment", BigInteger, nullable=False),
    Column("at", word(), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("data", Text, nullable=False),
    Index("lab_output_once", "job_id", "kind", "phase", "fragment", unique=True),
)

lab_readers = Table(
    "lab_readers",
    metadata,
    Column("job_id", word(), primary_key=True),
    Column("kind", word(), primary_key=True),
    Column("reader", word(), primary_key=True),
    Column("arrival", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

lab_files = Table(
    "lab_files",
    metadata,
    Column("job_id", word(), primary_key=True),
    Column("kind", word(), primary_key=True),
    Column("blob_key", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Index("lab_files_by_blob", "blob_key"),
    sqlite_with_rowid=False,
)

lab_agents = Table(
    "lab_agents",
    metadata,
    Column("name", word(), primary_key=True),
    Column("state", Text, nullable=False),
    Column("queues", Text, nullable=False),
    Column("location", Text, nullable=False),
    Column("provision_type", Text, nullable=False),
    Column("job_id", Text, nullable=False),
    Column("identifier", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("streak_type", Text, nullable=False),
    Column("streak_count", BigInteger, nullable=False),
    Column("lost", SmallInteger, nullable=False),
    Column("client_id", word(), nullable=False),
    Column("log", Text, nullable=False),
    # JSON text of an object: what it says beyond the columns.
    Column("extra", Text, nullable=False, server_default="{}"),
)

lab_provision_logs = Table(
    "lab_provision_logs",
    metadata,
    Column("agent", word(), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("job_id", Text, nullable=False),
    Column("exit_code", BigInteger, nullable=False),
    Column("detail", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

lab_queues = Table(
    "lab_queues",
    metadata,
    Column("queue", word(), primary_key=True),
    Column("description", Text),
    Column("images", Text),
    Column("restricted", SmallInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False, server_default="0"),
)
"""What agents advertised of a queue, and whether only its owners may push to it."""

lab_queue_owners = Table(
    "lab_queue_owners",
    metadata,
    Column("queue", word(), primary_key=True),
    Column("client_id", word(), primary_key=True),
    sqlite_with_rowid=False,
)
