"""What agents report of themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from runner_service.domain.agent_reports import AgentReport, NewReport, ReportedAgent, ReportSession
from runner_service.domain.jobs import Micros
from runner_service.ports.store.answers import Mark


class AgentReportStore(Protocol):
    """What agents report of themselves. Calls that come at one time share a transaction."""

    async def report(
        self, new: NewReport, *, default_ttl_minutes: int, history: int, mark: Mark | None = None
    ) -> AgentReport:
        """Stores a report that was checked, with its agent and its session as they are after it; of the session's
        reports the last ``history`` are kept. Sequences rise in the order of commits."""
        ...

    async def agent(self, agent_id: str) -> ReportedAgent:
        """Raises `ReportedAgentNotFound`."""
        ...

    async def agents(self, *, limit: int, after: str = "") -> Sequence[ReportedAgent]:
        """In order of registration, then id. ``limit`` 0: all. ``after``: the id of the last of the page before; raises
        `InvalidArgument` for one that there is not."""
        ...

    async def sessions(self, agent_id: str) -> Sequence[ReportSession]:
        """The sessions of an agent, the one that was updated last first. Empty for an unknown agent."""
        ...

    async def session(self, agent_id: str, topic: str) -> ReportSession:
        """Raises `ReportSessionNotFound`."""
        ...

    async def history(self, agent_id: str, *, topic: str | None = None, limit: int) -> Sequence[AgentReport]:
        """Kept reports of a session, or of all sessions of the agent: newest by the agent's time first, of one time the
        one that came last first."""
        ...

    async def reports(self, *, after: int, limit: int, agent_id: str = "") -> Sequence[AgentReport]:
        """Kept reports with a sequence above ``after``, in its order."""
        ...

    async def last_sequence(self) -> int:
        """Of the newest report, or end of a session; 0 before the first. What has it or a lower one can be read."""
        ...

    async def expire(self) -> int:
        """Marks every session that has been silent for longer than its time, and returns how many. Each gets a sequence
        of its own among those of reports; with any number of servers it expires once."""
        ...

    async def expired(self, *, after: int, limit: int, agent_id: str = "") -> Sequence[ReportSession]:
        """Sessions that have expired with a sequence above ``after``, and were not revived since, in its order."""
        ...

    async def purge(self, *, silent_since: Micros, limit: int) -> int:
        """Deletes up to ``limit`` sessions that were updated last before, with their reports, and agents without any;
        returns how many sessions."""
        ...
