"""Words of KubeAgents made values, and back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from runner.dialects.kubeagents.v1 import agent_pb2
from runner.dialects.kubeagents.v1 import agent_service_pb2 as pb
from runner_service.domain.agent_reports import AgentReport, Nanos, NewReport, ReportedAgent, ReportSession
from runner_service.domain.errors import InvalidArgument
from runner_service.rpc.convert import times

_RFC_3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](\d+))?(Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def reported_at(text: str) -> Nanos | None:
    """RFC 3339, to the nanosecond; ``None`` when it is empty. Raises `InvalidArgument` for what is no time."""
    if not text:
        return None
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise _no_time()
    second, fraction, offset = match[1], match[2] or "", match[3]
    try:
        at = datetime.fromisoformat(second + offset).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _no_time() from None
    return (at - _EPOCH) // timedelta(seconds=1) * 1_000_000_000 + int(fraction[:9].ljust(9, "0"))


def _no_time() -> InvalidArgument:
    return InvalidArgument(field="timestamp", problem="Invalid JSON: timestamp is no RFC 3339 time")


def new_report(request: pb.ReportStatusRequest) -> NewReport:
    return NewReport(
        agent_id=request.agent_id,
        agent_name=request.agent_name,
        agent_source=request.agent_source,
        topic=request.session_topic,
        status=request.status,
        reported_at=reported_at(request.timestamp),
        message=request.message,
        content=request.content,
        ttl_minutes=request.ttl_minutes,
    )


def agent(value: ReportedAgent) -> agent_pb2.AgentWithStats:
    return agent_pb2.AgentWithStats(
        agent_id=value.agent_id,
        name=value.name,
        source=value.source,
        registered=times.timestamp(value.registered_at),
        last_seen=times.timestamp(value.last_seen_at),
        session_count=value.sessions,
        active_session_count=value.active_sessions,
        latest_status=value.latest.status,
        latest_message=value.latest.message,
    )


def session(value: ReportSession, *, with_status: bool) -> agent_pb2.Session:
    return agent_pb2.Session(
        agent_id=value.agent_id,
        session_topic=value.topic,
        created=times.timestamp(value.created_at),
        last_updated=times.timestamp(value.updated_at),
        expired=value.expired_at is not None,
        expired_at=times.timestamp(value.expired_at),
        ttl_minutes=value.ttl_minutes,
        current_status=value.current.status if with_status else "",
    )


def status(value: AgentReport) -> agent_pb2.AgentStatus:
    return agent_pb2.AgentStatus(
        agent_id=value.agent_id,
        session_topic=value.topic,
        status=value.status,
        timestamp=times.timestamp_ns(value.reported_at),
        message=value.message,
        content=value.content,
    )
