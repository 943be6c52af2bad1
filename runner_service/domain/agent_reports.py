"""Agents that are observed: what they report of themselves, in sessions that expire."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum

from runner_service.domain.errors import InvalidArgument
from runner_service.domain.jobs import Micros

MINUTE = 60_000_000
DEFAULT_TTL_MINUTES = 30
MAX_TTL_MINUTES = 1440
MAX_AGENT_ID = 100
MAX_NAME = 200
MAX_TOPIC = 500
MAX_MESSAGE = 1_000
MAX_CONTENT = 10_000
HISTORY_OF_AGENT = 100
"""Reports that are shown of all sessions of an agent together."""
Nanos = int
"""Nanoseconds since 1970, of any year from 1 to 9999."""


class ReportStatus(StrEnum):
    """How an agent says that it stands."""

    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    PENDING = "pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReport:
    """What an agent says. Any status may follow any other."""

    agent_id: str
    """Chosen by the agent."""
    topic: str
    """Of the session that it is about, chosen by the agent."""
    status: str
    reported_at: Nanos | None
    """By the agent's own clock."""
    agent_name: str = ""
    agent_source: str = ""
    message: str = ""
    content: str = ""
    ttl_minutes: int = 0
    """How long the session lives without a word; 0: as before, or the default."""

    def checked(self) -> NewReport:
        """Returns it as it is. Raises `InvalidArgument` for the first field that is wrong, in the documented order."""
        _required("agent_id", self.agent_id, MAX_AGENT_ID)
        _limited("agent_name", self.agent_name, MAX_NAME)
        _limited("agent_source", self.agent_source, MAX_NAME)
        _required("session_topic", self.topic, MAX_TOPIC)
        if self.status not in _STATUSES:
            raise _invalid("status", f"must be one of: {', '.join(_STATUSES)}")
        if self.reported_at is None:
            raise _invalid("timestamp", "is required")
        _limited("message", self.message, MAX_MESSAGE)
        _limited("content", self.content, MAX_CONTENT)
        if not 0 <= self.ttl_minutes <= MAX_TTL_MINUTES:
            raise _invalid("ttl_minutes", f"must be 0 or 1-{MAX_TTL_MINUTES}")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentReport:
    """One report as it is kept."""

    sequence: int
    """Of all reports: later ones have greater numbers."""
    agent_id: str
    topic: str
    status: ReportStatus
    reported_at: Nanos
    received_at: Micros
    message: str = ""
    content: str = ""

    @property
    def age(self) -> tuple[Nanos, int]:
        """What orders reports: the agent's time, and of one time the order in which they came."""
        return self.reported_at, self.sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSession:
    """Reports of one agent on one topic."""

    agent_id: str
    topic: str
    created_at: Micros
    updated_at: Micros
    ttl_minutes: int
    reports: int
    """How many came, those that are kept no more included."""
    current: AgentReport
    """The newest by the agent's time."""
    expired_at: Micros | None = None
    """When it was found to have been silent for too long; a new report revives it."""
    expired_sequence: int | None = None
    """Of that, among the sequences of reports."""

    @property
    def session_id(self) -> str:
        return session_id(self.agent_id, self.topic)

    @property
    def expires_at(self) -> Micros:
        return self.updated_at + self.ttl_minutes * MINUTE


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedAgent:
    """An agent that reports. It is registered by its first report."""

    agent_id: str
    name: str = ""
    source: str = ""
    registered_at: Micros
    last_seen_at: Micros
    latest: AgentReport
    """The newest by the agent's time, of all sessions."""
    sessions: int = 0
    active_sessions: int = 0
    """Those that have not expired."""

    def matches(self, *, status: str, search: str) -> bool:
        """Tells whether it is asked for: by the status of its latest report, and a part of its id or name in any case.
        Empty: any."""
        if status and self.latest.status != status:
            return False
        wanted = search.casefold()
        return wanted in self.agent_id.casefold() or wanted in self.name.casefold()


def session_id(agent_id: str, topic: str) -> str:
    """The key of a session: 128 bits of a hash, for ids and topics are long and of any kind."""
    return hashlib.sha256(f"{agent_id}\0{topic}".encode()).hexdigest()[:32]


def taken(new: NewReport, *, sequence: int, now: Micros) -> AgentReport:
    """The report as it is kept. ``new`` is checked."""
    assert new.reported_at is not None
    return AgentReport(
        sequence=sequence,
        agent_id=new.agent_id,
        topic=new.topic,
        status=ReportStatus(new.status),
        reported_at=new.reported_at,
        received_at=now,
        message=new.message,
        content=new.content,
    )


def agent_after(agent: ReportedAgent | None, new: NewReport, report: AgentReport) -> ReportedAgent:
    """The agent once the report is in: registered by its first; a name that is not said stays."""
    now = report.received_at
    if agent is None:
        return ReportedAgent(
            agent_id=new.agent_id,
            name=new.agent_name,
            source=new.agent_source,
            registered_at=now,
            last_seen_at=now,
            latest=report,
        )
    return replace(
        agent,
        name=new.agent_name or agent.name,
        source=new.agent_source or agent.source,
        last_seen_at=now,
        latest=max(agent.latest, report, key=lambda each: each.age),
    )


def session_after(
    session: ReportSession | None, new: NewReport, report: AgentReport, *, default_ttl_minutes: int
) -> ReportSession:
    """The session once the report is in: made by its first, revived by any."""
    now = report.received_at
    if session is None:
        return ReportSession(
            agent_id=new.agent_id,
            topic=new.topic,
            created_at=now,
            updated_at=now,
            ttl_minutes=new.ttl_minutes or default_ttl_minutes,
            reports=1,
            current=report,
        )
    return replace(
        session,
        updated_at=now,
        ttl_minutes=new.ttl_minutes or session.ttl_minutes,
        reports=session.reports + 1,
        current=max(session.current, report, key=lambda each: each.age),
        expired_at=None,
        expired_sequence=None,
    )


_STATUSES = tuple(status.value for status in ReportStatus)


def _required(field: str, text: str, most: int) -> None:
    if not text:
        raise _invalid(field, "is required")
    if len(text) > most:
        raise _invalid(field, f"must be 1-{most} characters")
    _storable(field, text)


def _limited(field: str, text: str, most: int) -> None:
    if len(text) > most:
        raise _invalid(field, f"must be 0-{most} characters")
    _storable(field, text)


def _storable(field: str, text: str) -> None:
    if "\0" in text:
        raise _invalid(field, "must not hold the character U+0000")


def _invalid(field: str, problem: str) -> InvalidArgument:
    return InvalidArgument(field=field, problem=f"{field} {problem}")
