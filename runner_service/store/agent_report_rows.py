"""Reports of agents as rows, and back."""

from __future__ import annotations

import json
from typing import Any

from runner_service.domain.agent_reports import AgentReport, ReportedAgent, ReportSession, ReportStatus
from runner_service.store.statements import Row

_encode = json.JSONEncoder(separators=(",", ":")).encode


def storable(text: str) -> bool:
    """Whether an engine takes it at all: nothing that it does not take was ever stored."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def report_values(report: AgentReport, key: str, place: int) -> dict[str, Any]:
    micros, nanos = divmod(report.reported_at, 1000)
    return {
        "sequence": report.sequence,
        "session_id": key,
        "number": place,
        "agent_id": report.agent_id,
        "topic": report.topic,
        "status": report.status.value,
        "reported_at": micros,
        "reported_ns": nanos,
        "received_at": report.received_at,
        "message": report.message,
        "content": report.content,
    }


def report_of(row: Row) -> AgentReport:
    return AgentReport(
        sequence=row[0],
        agent_id=row[3],
        topic=row[4],
        status=ReportStatus(row[5]),
        reported_at=row[6] * 1000 + row[7],
        received_at=row[8],
        message=row[9],
        content=row[10],
    )


def _encode_report(report: AgentReport) -> str:
    """A copy that outlives the row; without the content, which may be long."""
    return _encode(
        [report.sequence, report.topic, report.status, report.reported_at, report.received_at, report.message]
    )


def _decode_report(text: str, agent_id: str) -> AgentReport:
    sequence, topic, status, reported_at, received_at, message = json.loads(text)
    return AgentReport(
        sequence=sequence,
        agent_id=agent_id,
        topic=topic,
        status=ReportStatus(status),
        reported_at=reported_at,
        received_at=received_at,
        message=message,
    )


def agent_values(agent: ReportedAgent, *, changes: bool = False) -> dict[str, Any]:
    values = {
        "agent_id": agent.agent_id,
        "name": agent.name,
        "source": agent.source,
        "last_seen_at": agent.last_seen_at,
        "latest": _encode_report(agent.latest),
    }
    return values if changes else {**values, "registered_at": agent.registered_at}


def agent_of(row: Row) -> ReportedAgent:
    return ReportedAgent(
        agent_id=row[0],
        name=row[1],
        source=row[2],
        registered_at=row[3],
        last_seen_at=row[4],
        latest=_decode_report(row[5], row[0]),
        sessions=row[6] if len(row) > 6 else 0,
        active_sessions=row[7] if len(row) > 7 else 0,
    )


def session_values(session: ReportSession, *, changes: bool = False) -> dict[str, Any]:
    values = {
        "session_id": session.session_id,
        "updated_at": session.updated_at,
        "ttl_minutes": session.ttl_minutes,
        "reports": session.reports,
        "current": _encode_report(session.current),
        "expires_at": session.expires_at,
        "expired_at": session.expired_at,
        "expired_sequence": session.expired_sequence,
    }
    if changes:
        return values
    return {**values, "agent_id": session.agent_id, "topic": session.topic, "created_at": session.created_at}


def session_of(row: Row) -> ReportSession:
    return ReportSession(
        agent_id=row[1],
        topic=row[2],
        created_at=row[3],
        updated_at=row[4],
        ttl_minutes=row[5],
        reports=row[6],
        current=_decode_report(row[7], row[1]),
        expired_at=row[9],
        expired_sequence=row[10],
    )
