"""Use cases of observed agents: report, read, watch."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from runner_service.domain.agent_reports import (
    DEFAULT_TTL_MINUTES,
    HISTORY_OF_AGENT,
    AgentReport,
    NewReport,
    ReportedAgent,
    ReportSession,
)
from runner_service.domain.errors import AgentReportNotFound
from runner_service.ports.clock import Clock
from runner_service.ports.signals import AGENT_REPORTS, Signals
from runner_service.ports.store import AgentReportStore, Mark

HISTORY_OF_SESSION = 1_000
AT_ONCE = 500
_POLL_SECONDS = 30.0
EXPIRE_SECONDS = 5.0
"""Between looks for sessions that have expired; their times are minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPage:
    """A page of agents."""

    agents: Sequence[ReportedAgent]
    next_after: str
    """Empty: this is the last."""


class AgentReports:
    """Takes reports, and shows what they say. Every read finds sessions that have been silent for too long expired."""

    def __init__(
        self,
        *,
        store: AgentReportStore,
        signals: Signals,
        clock: Clock,
        default_ttl_minutes: int = DEFAULT_TTL_MINUTES,
        history: int = HISTORY_OF_SESSION,
        keep_seconds: float,
    ) -> None:
        self._store = store
        self._signals = signals
        self._clock = clock
        self._default_ttl_minutes = default_ttl_minutes
        self._history = history
        self._keep_seconds = keep_seconds

    async def report(self, new: NewReport, *, mark: Mark | None = None) -> AgentReport:
        """Stores a report; durable when it returns. Raises `InvalidArgument`."""
        report = await self._store.report(
            new.checked(), default_ttl_minutes=self._default_ttl_minutes, history=self._history, mark=mark
        )
        self._signals.publish([AGENT_REPORTS])
        return report

    async def agent(self, agent_id: str) -> ReportedAgent:
        """Raises `ReportedAgentNotFound`."""
        await self.expire()
        return await self._store.agent(agent_id)

    async def agents(self, *, limit: int = 0, after: str = "", status: str = "", search: str = "") -> AgentPage:
        """Agents that match, in order of registration; ``limit`` 0: all. Raises `InvalidArgument` for an ``after`` that
        is not of this list."""
        await self.expire()
        found: list[ReportedAgent] = []
        while True:
            page = await self._store.agents(limit=AT_ONCE, after=after)
            for place, agent in enumerate(page, start=1):
                if agent.matches(status=status, search=search):
                    found.append(agent)
                    if limit and len(found) == limit:
                        more = place < len(page) or len(page) == AT_ONCE
                        return AgentPage(agents=found, next_after=agent.agent_id if more else "")
            if len(page) < AT_ONCE:
                return AgentPage(agents=found, next_after="")
            after = page[-1].agent_id

    async def sessions(self, agent_id: str, *, expired: bool = True) -> Sequence[ReportSession]:
        """The sessions of an agent, newest first; ``expired`` false: without those that have. Raises
        `ReportedAgentNotFound`."""
        await self.agent(agent_id)
        return [one for one in await self._store.sessions(agent_id) if expired or one.expired_at is None]

    async def session(self, agent_id: str, topic: str) -> tuple[ReportSession, Sequence[AgentReport]]:
        """A session and its history, newest first. Raises `ReportSessionNotFound`, also for an unknown agent."""
        await self.expire()
        session = await self._store.session(agent_id, topic)
        return session, await self._store.history(agent_id, topic=topic, limit=self._history)

    async def status(self, agent_id: str) -> tuple[AgentReport, Sequence[AgentReport]]:
        """The newest report of an agent, and the newest of all its sessions.

        Raises:
            ReportedAgentNotFound: It has never reported.
            AgentReportNotFound: Nothing that it reported is kept.
        """
        agent = await self.agent(agent_id)
        history = await self._store.history(agent_id, limit=HISTORY_OF_AGENT)
        if not history:
            raise AgentReportNotFound(agent_id=agent_id)
        # Its row may be gone, when a later one had an earlier time.
        latest = history[0] if history[0].age >= agent.latest.age else agent.latest
        return latest, history

    async def history(self, agent_id: str, *, topic: str = "", limit: int) -> Sequence[AgentReport]:
        """Reports of an agent, or of one session, newest first. Raises `ReportedAgentNotFound`."""
        await self._store.agent(agent_id)
        return await self._store.history(agent_id, topic=topic or None, limit=limit)

    async def watch(
        self, *, agent_id: str = "", after: int | None = None
    ) -> AsyncIterator[AgentReport | ReportSession]:
        """Yields reports behind ``after`` as they come, and sessions when they have expired, of one agent or of all;
        with ``None`` from now on. Never ends. An agent that has not reported yet may be waited for."""
        with self._signals.subscribe(AGENT_REPORTS) as waiter:
            if after is None:
                after = await self._store.last_sequence()
            while True:
                # Asked first: what comes in between is found the next time.
                upto = await self._store.last_sequence()
                reports = await self._store.reports(after=after, limit=AT_ONCE, agent_id=agent_id)
                if len(reports) == AT_ONCE:
                    upto = min(upto, reports[-1].sequence)
                expired = await self._store.expired(after=after, limit=AT_ONCE, agent_id=agent_id)
                if len(expired) == AT_ONCE:
                    upto = min(upto, sequence_of(expired[-1]))
                events: list[AgentReport | ReportSession] = sorted([*reports, *expired], key=sequence_of)
                for event in events:
                    if sequence_of(event) <= upto:
                        yield event
                after = max(after, upto)
                if not events:
                    await waiter.wait(_POLL_SECONDS)

    async def expire(self) -> None:
        """Has the sessions expired that have been silent for too long, and tells who watches."""
        if await self._store.expire():
            self._signals.publish([AGENT_REPORTS])

    async def sweep(self) -> None:
        """Expires sessions on the clock, and deletes those that have been silent for longer than they are kept."""
        await self.expire()
        silent_since = self._clock.now() - int(self._keep_seconds * 1_000_000)
        while await self._store.purge(silent_since=silent_since, limit=AT_ONCE) == AT_ONCE:
            pass


def sequence_of(event: AgentReport | ReportSession) -> int:
    """Where a report, or the end of a session, stands among all."""
    return event.sequence if isinstance(event, AgentReport) else event.expired_sequence or 0
