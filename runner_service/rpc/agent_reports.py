"""AgentReportService."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from runner.v1 import agent_report_service_pb2 as pb
from runner.v1 import agent_report_service_pb2_grpc
from runner_service.rpc.convert import agent_reports as convert
from runner_service.rpc.convert import paging
from runner_service.rpc.repeats import current_mark
from runner_service.services.agent_reports import AgentReports


class AgentReportServicer(agent_report_service_pb2_grpc.AgentReportServiceServicer):
    """Converts, calls one service function, converts."""

    def __init__(self, reports: AgentReports) -> None:
        self._reports = reports

    async def CreateAgentReport(
        self, request: pb.CreateAgentReportRequest, context: Any
    ) -> pb.CreateAgentReportResponse:
        new = convert.new_report(request, now_ns=time.time_ns())
        report = await self._reports.report(new, mark=current_mark.get())
        return pb.CreateAgentReportResponse(report=convert.report(report))

    async def GetReportedAgent(self, request: pb.GetReportedAgentRequest, context: Any) -> pb.GetReportedAgentResponse:
        return pb.GetReportedAgentResponse(agent=convert.agent(await self._reports.agent(request.agent_id)))

    async def ListReportedAgents(
        self, request: pb.ListReportedAgentsRequest, context: Any
    ) -> pb.ListReportedAgentsResponse:
        page = await self._reports.agents(
            limit=paging.size(request.page_size, default=100, most=1000),
            after=request.page_token,
            status=convert.status_word(request.status),
            search=request.search,
        )
        return pb.ListReportedAgentsResponse(agents=map(convert.agent, page.agents), next_page_token=page.next_after)

    async def ListReportSessions(
        self, request: pb.ListReportSessionsRequest, context: Any
    ) -> pb.ListReportSessionsResponse:
        sessions = await self._reports.sessions(request.agent_id, expired=not request.alive)
        return pb.ListReportSessionsResponse(sessions=map(convert.session, sessions))

    async def ListAgentReports(self, request: pb.ListAgentReportsRequest, context: Any) -> pb.ListAgentReportsResponse:
        limit = paging.size(request.limit, default=100, most=1000)
        reports = await self._reports.history(request.agent_id, topic=request.topic, limit=limit)
        return pb.ListAgentReportsResponse(reports=map(convert.report, reports))

    async def WatchAgentReports(
        self, request: pb.WatchAgentReportsRequest, context: Any
    ) -> AsyncIterator[pb.WatchAgentReportsResponse]:
        after = request.after if request.HasField("after") else None
        if request.last_event_id:
            after = paging.event_number(request.last_event_id)
        async for event in self._reports.watch(agent_id=request.agent_id, after=after):
            yield convert.event(event)
