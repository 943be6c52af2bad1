"""The façade servicer of KubeAgents: translate, call a service, translate."""

from __future__ import annotations

from typing import Any

from runner.dialects.kubeagents.v1 import agent_pb2, agent_service_pb2_grpc
from runner.dialects.kubeagents.v1 import agent_service_pb2 as pb
from runner_service.dialects.kubeagents import words
from runner_service.rpc.convert import times
from runner_service.services.agent_reports import AgentReports


class KubeAgentServicer(agent_service_pb2_grpc.AgentServiceServicer):
    """KubeAgents' endpoints."""

    def __init__(self, reports: AgentReports) -> None:
        self._reports = reports

    async def ReportStatus(self, request: pb.ReportStatusRequest, context: Any) -> pb.ReportStatusResponse:
        await self._reports.report(words.new_report(request))
        return pb.ReportStatusResponse(success=True, message="Status reported successfully")

    async def ListAgents(self, request: pb.ListAgentsRequest, context: Any) -> pb.ListAgentsResponse:
        page = await self._reports.agents(status=request.status, search=request.search)
        return pb.ListAgentsResponse(agents=map(words.agent, page.agents))

    async def GetAgent(self, request: pb.GetAgentRequest, context: Any) -> agent_pb2.AgentWithStats:
        return words.agent(await self._reports.agent(request.agent_id))

    async def ListSessions(self, request: pb.ListSessionsRequest, context: Any) -> pb.ListSessionsResponse:
        sessions = await self._reports.sessions(request.agent_id, expired=request.expired != "false")
        return pb.ListSessionsResponse(sessions=[words.session(one, with_status=True) for one in sessions])

    async def GetSession(self, request: pb.GetSessionRequest, context: Any) -> pb.GetSessionResponse:
        session, history = await self._reports.session(request.agent_id, request.session_topic)
        return pb.GetSessionResponse(
            session=words.session(session, with_status=False), status_history=map(words.status, history)
        )

    async def GetAgentStatus(self, request: pb.GetAgentStatusRequest, context: Any) -> pb.GetAgentStatusResponse:
        latest, history = await self._reports.status(request.agent_id)
        return pb.GetAgentStatusResponse(
            agent_id=latest.agent_id,
            session_topic=latest.topic,
            status=latest.status,
            timestamp=times.timestamp_ns(latest.reported_at),
            message=latest.message,
            content=latest.content,
            status_history=map(words.status, history),
        )
