"""Agents that report, as typed calls: :attr:`runner_client.AsyncClient.agent_reports`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from grpc import aio

from runner.v1.agent_report_service_pb2_grpc import AgentReportServiceStub
from runner_client.calls import Caller

if TYPE_CHECKING:
    from runner.v1.agent_report_pb2 import AgentReport, ReportedAgent, ReportSession
    from runner.v1.agent_report_service_pb2 import WatchAgentReportsResponse

PAGE_SIZE = 500


class AgentReportCalls:
    """Agents that run elsewhere and report how they stand. Made by the client."""

    def __init__(self, channel: aio.Channel, caller: Caller) -> None:
        self._stub = AgentReportServiceStub(channel)
        self._caller = caller

    async def report(
        self,
        agent_id: str,
        topic: str,
        status: AgentReport.Status.ValueType,
        *,
        message: str = "",
        content: str = "",
        agent_name: str = "",
        agent_source: str = "",
        ttl_minutes: int = 0,
    ) -> AgentReport:
        """Reports how an agent stands, now. It is stored when this returns."""
        from runner.v1.agent_report_service_pb2 import CreateAgentReportRequest

        request = CreateAgentReportRequest(
            agent_id=agent_id,
            agent_name=agent_name,
            agent_source=agent_source,
            topic=topic,
            status=status,
            message=message,
            content=content,
            ttl_minutes=ttl_minutes,
        )
        request.report_time.GetCurrentTime()
        return (await self._caller.unary(self._stub.CreateAgentReport, request)).report

    async def get(self, agent_id: str) -> ReportedAgent:
        """Returns an agent that has reported."""
        from runner.v1.agent_report_service_pb2 import GetReportedAgentRequest

        request = GetReportedAgentRequest(agent_id=agent_id)
        return (await self._caller.unary(self._stub.GetReportedAgent, request)).agent

    async def list_all(
        self, *, status: AgentReport.Status.ValueType | None = None, search: str = ""
    ) -> list[ReportedAgent]:
        """Returns all agents that match, in order of registration."""
        from runner.v1.agent_report_service_pb2 import ListReportedAgentsRequest

        request = ListReportedAgentsRequest(page_size=PAGE_SIZE, search=search)
        if status is not None:
            request.status = status
        agents = list["ReportedAgent"]()
        while True:
            page = await self._caller.unary(self._stub.ListReportedAgents, request)
            agents += page.agents
            if not page.next_page_token:
                return agents
            request.page_token = page.next_page_token

    async def sessions(self, agent_id: str, *, alive: bool = False) -> list[ReportSession]:
        """Returns the sessions of an agent, the one that was updated last first."""
        from runner.v1.agent_report_service_pb2 import ListReportSessionsRequest

        request = ListReportSessionsRequest(agent_id=agent_id, alive=alive)
        return list((await self._caller.unary(self._stub.ListReportSessions, request)).sessions)

    async def history(self, agent_id: str, *, topic: str = "", limit: int = 100) -> list[AgentReport]:
        """Returns reports of an agent, newest by its own clock first."""
        from runner.v1.agent_report_service_pb2 import ListAgentReportsRequest

        request = ListAgentReportsRequest(agent_id=agent_id, topic=topic, limit=limit)
        return list((await self._caller.unary(self._stub.ListAgentReports, request)).reports)

    async def watch(self, agent_id: str = "", *, after: int | None = None) -> AsyncIterator[AgentReport]:
        """Yields reports as they come, for ever, behind the report ``after`` without a gap or a duplicate. ``None``:
        from now on; 0: from the oldest that is kept."""
        async for event in self.events(agent_id, after=after):
            if event.HasField("report"):
                yield event.report

    async def events(self, agent_id: str = "", *, after: int | None = None) -> AsyncIterator[WatchAgentReportsResponse]:
        """As `watch`, with the sessions that expire: each event has a ``report`` or an ``expired_session``, and the
        ``sequence`` behind which to go on."""
        from runner.v1.agent_report_service_pb2 import WatchAgentReportsRequest

        request = WatchAgentReportsRequest(agent_id=agent_id, after=after)

        def passed(message: WatchAgentReportsResponse) -> bool:
            request.after = message.sequence or message.report.sequence
            return False

        async for message in self._caller.stream(self._stub.WatchAgentReports, request, passed=passed):
            yield message
