"""What agents report of themselves: each method hands one query function to the engine."""

from __future__ import annotations

from collections.abc import Sequence

from runner_service.domain.agent_reports import AgentReport, NewReport, ReportedAgent, ReportSession
from runner_service.domain.jobs import Micros
from runner_service.ports.store import Mark
from runner_service.store import agent_reports
from runner_service.store.combiner import Combiner
from runner_service.store.engine import Engine

EXPIRED_AT_ONCE = 1_000
"""In one transaction."""


class SqlAgentReports:
    """`AgentReportStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reports = Combiner(engine, agent_reports.report_all, limit=256)

    async def report(
        self, new: NewReport, *, default_ttl_minutes: int, history: int, mark: Mark | None = None
    ) -> AgentReport:
        return await self._reports.submit(agent_reports.Filing(new, default_ttl_minutes, history, mark))

    async def agent(self, agent_id: str) -> ReportedAgent:
        return await self._engine.read(agent_reports.agent, agent_id)

    async def agents(self, *, limit: int, after: str = "") -> Sequence[ReportedAgent]:
        return await self._engine.read(agent_reports.agents, limit, after)

    async def sessions(self, agent_id: str) -> Sequence[ReportSession]:
        return await self._engine.read(agent_reports.sessions, agent_id)

    async def session(self, agent_id: str, topic: str) -> ReportSession:
        return await self._engine.read(agent_reports.session, agent_id, topic)

    async def history(self, agent_id: str, *, topic: str | None = None, limit: int) -> Sequence[AgentReport]:
        return await self._engine.read(agent_reports.history, agent_id, topic, limit)

    async def reports(self, *, after: int, limit: int, agent_id: str = "") -> Sequence[AgentReport]:
        return await self._engine.read(agent_reports.feed, after, limit, agent_id)

    async def last_sequence(self) -> int:
        return await self._engine.read(agent_reports.last_sequence)

    async def expire(self) -> int:
        # Asked on every read, so only written when there is something to write.
        if not await self._engine.read(agent_reports.is_due):
            return 0
        count = 0
        while found := await self._engine.write(agent_reports.expire, EXPIRED_AT_ONCE):
            count += found
            if found < EXPIRED_AT_ONCE:
                break
        return count

    async def expired(self, *, after: int, limit: int, agent_id: str = "") -> Sequence[ReportSession]:
        return await self._engine.read(agent_reports.expired, after, limit, agent_id)

    async def purge(self, *, silent_since: Micros, limit: int) -> int:
        return await self._engine.write(agent_reports.purge, silent_since, limit)
