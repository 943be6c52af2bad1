"""What agents report of themselves."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table, Text, text

from runner_service.store.schema.base import metadata, serial, word

reported_agents = Table(
    "reported_agents",
    metadata,
    Column("agent_id", word(), primary_key=True),
    Column("name", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("registered_at", BigInteger, nullable=False),
    Column("last_seen_at", BigInteger, nullable=False),
    # The newest report by the agent's time, for its row may be gone.
    Column("latest", Text, nullable=False),
    Index("reported_agents_in_order", "registered_at", "agent_id"),
)

report_sessions = Table(
    "report_sessions",
    metadata,
    # A hash of agent and topic.
    Column("session_id", word(), primary_key=True),
    Column("agent_id", word(), nullable=False),
    Column("topic", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("ttl_minutes", BigInteger, nullable=False),
    Column("reports", BigInteger, nullable=False),
    Column("current", Text, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("expired_at", BigInteger),
    # From `report_numbers`, as those of reports: who follows them sees this once, in order.
    Column("expired_sequence", BigInteger),
    Index("report_sessions_of_agent", "agent_id"),
    Index("report_sessions_silent", "updated_at"),
)
Index(
    "report_sessions_live",
    report_sessions.c.expires_at,
    sqlite_where=text("expired_at IS NULL"),
    postgresql_where=text("expired_at IS NULL"),
)
Index(
    "report_sessions_expired",
    report_sessions.c.expired_sequence,
    sqlite_where=text("expired_sequence IS NOT NULL"),
    postgresql_where=text("expired_sequence IS NOT NULL"),
)

agent_reports = Table(
    "agent_reports",
    metadata,
    # Numbered by `report_numbers`, so that sequences rise in the order of commits.
    Column("sequence", serial(), primary_key=True, autoincrement=False),
    Column("session_id", word(), nullable=False),
    # In its session, from 1.
    Column("number", BigInteger, nullable=False),
    Column("agent_id", word(), nullable=False),
    Column("topic", Text, nullable=False),
    Column("status", Text, nullable=False),
    # Microseconds, and the nanoseconds beyond them.
    Column("reported_at", BigInteger, nullable=False),
    Column("reported_ns", BigInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("message", Text, nullable=False),
    Column("content", Text, nullable=False),
    Index("agent_reports_of_session", "session_id", "number"),
    Index("agent_reports_of_agent", "agent_id", "reported_at", "reported_ns", "sequence"),
)

report_numbers = Table(
    "report_numbers",
    metadata,
    Column("id", serial(), primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
)
"""One row: the sequence of the newest report, or end of a session."""
