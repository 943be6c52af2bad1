"""Reports of observed agents."""

from __future__ import annotations

from runner.v1 import agent_report_pb2, agent_report_service_pb2
from runner_service.domain.agent_reports import AgentReport, NewReport, ReportedAgent, ReportSession, ReportStatus
from runner_service.rpc.convert import times

_STATUSES = {status: agent_report_pb2.AgentReport.Status.Value(f"STATUS_{status.name}") for status in ReportStatus}
_WORDS = {number: status.value for status, number in _STATUSES.items()}


def status_word(number: int) -> str:
    """Empty for none, and for one that is not known."""
    return _WORDS.get(number, "")  # type: ignore[call-overload, no-any-return]


def new_report(request: agent_report_service_pb2.CreateAgentReportRequest, *, now_ns: int) -> NewReport:
    said = request.report_time
    return NewReport(
        agent_id=request.agent_id,
        agent_name=request.agent_name,
        agent_source=request.agent_source,
        topic=request.topic,
        status=status_word(request.status),
        reported_at=said.seconds * 1_000_000_000 + said.nanos if request.HasField("report_time") else now_ns,
        message=request.message,
        content=request.content,
        ttl_minutes=request.ttl_minutes,
    )


def report(value: AgentReport) -> agent_report_pb2.AgentReport:
    return agent_report_pb2.AgentReport(
        sequence=value.sequence,
        agent_id=value.agent_id,
        topic=value.topic,
        status=_STATUSES[value.status],
        report_time=times.timestamp_ns(value.reported_at),
        receive_time=times.timestamp(value.received_at),
        message=value.message,
        content=value.content,
    )


def agent(value: ReportedAgent) -> agent_report_pb2.ReportedAgent:
    return agent_report_pb2.ReportedAgent(
        agent_id=value.agent_id,
        name=value.name,
        source=value.source,
        register_time=times.timestamp(value.registered_at),
        last_seen_time=times.timestamp(value.last_seen_at),
        session_count=value.sessions,
        active_session_count=value.active_sessions,
        latest=report(value.latest),
    )


def session(value: ReportSession) -> agent_report_pb2.ReportSession:
    return agent_report_pb2.ReportSession(
        agent_id=value.agent_id,
        topic=value.topic,
        create_time=times.timestamp(value.created_at),
        update_time=times.timestamp(value.updated_at),
        ttl_minutes=value.ttl_minutes,
        expire_time=times.timestamp(value.expired_at),
        report_count=value.reports,
        current=report(value.current),
    )


def event(value: AgentReport | ReportSession) -> agent_report_service_pb2.WatchAgentReportsResponse:
    if isinstance(value, AgentReport):
        return agent_report_service_pb2.WatchAgentReportsResponse(report=report(value), sequence=value.sequence)
    return agent_report_service_pb2.WatchAgentReportsResponse(
        expired_session=session(value), sequence=value.expired_sequence or 0
    )
