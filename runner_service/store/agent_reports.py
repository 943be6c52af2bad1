"""What agents report of themselves: reports that came at one time are stored together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import and_, bindparam, case, delete, func, insert, or_, select, update

from runner_service.domain.agent_reports import (
    AgentReport,
    NewReport,
    ReportedAgent,
    ReportSession,
    agent_after,
    session_after,
    session_id,
    taken,
)
from runner_service.domain.errors import (
    AlreadyExists,
    InvalidArgument,
    ReportedAgentNotFound,
    ReportSessionNotFound,
    RunnerError,
)
from runner_service.ports.store import Mark
from runner_service.store import answers
from runner_service.store.agent_report_rows import (
    agent_of,
    agent_values,
    report_of,
    report_values,
    session_of,
    session_values,
    storable,
)
from runner_service.store.schema import agent_reports, report_numbers, report_sessions, reported_agents
from runner_service.store.statements import Connection, Query, among, integer, number, string

_ENDLESS = 2**63 - 1


class Filing(NamedTuple):
    """A report on its way in."""

    new: NewReport
    default_ttl_minutes: int
    history: int
    mark: Mark | None = None


NUMBER = Query(update(report_numbers).values(last=report_numbers.c.last + integer("count")))
LAST_NUMBER = Query(select(report_numbers.c.last))

AGENTS_OF = Query(select(reported_agents).where(among(reported_agents.c.agent_id, "agent_ids")))
SESSIONS_OF = Query(select(report_sessions).where(among(report_sessions.c.session_id, "session_ids")))
ADD_AGENT = Query(insert(reported_agents))
SAVE_AGENT = Query(
    update(reported_agents)
    .values(
        {
            name: bindparam(name, type_=reported_agents.c[name].type)
            for name in ("name", "source", "last_seen_at", "latest")
        }
    )
    .where(reported_agents.c.agent_id == string("agent_id"))
)
ADD_SESSION = Query(insert(report_sessions))
SAVE_SESSION = Query(
    update(report_sessions)
    .values(
        {
            name: bindparam(name, type_=report_sessions.c[name].type)
            for name in (
                "updated_at",
                "ttl_minutes",
                "reports",
                "current",
                "expires_at",
                "expired_at",
                "expired_sequence",
            )
        }
    )
    .where(report_sessions.c.session_id == string("session_id"))
)
ADD_REPORT = Query(insert(agent_reports))
# Walks agent_reports_of_session from its old end.
FORGET = Query(
    delete(agent_reports).where(
        agent_reports.c.session_id == string("session_id"), agent_reports.c.number <= integer("last")
    )
)

_ACTIVE = func.sum(case((report_sessions.c.expired_at.is_(None), number(1)), else_=number(0)))
_COUNTS = (
    select(report_sessions.c.agent_id, func.count().label("total"), _ACTIVE.label("active"))
    .group_by(report_sessions.c.agent_id)
    .subquery()
)
_COUNTED = select(
    reported_agents, func.coalesce(_COUNTS.c.total, number(0)), func.coalesce(_COUNTS.c.active, number(0))
)
_AGENTS = (
    _COUNTED.select_from(reported_agents.outerjoin(_COUNTS, _COUNTS.c.agent_id == reported_agents.c.agent_id))
    .order_by(reported_agents.c.registered_at, reported_agents.c.agent_id)
    .limit(integer("size"))
)
FIRST_AGENTS = Query(_AGENTS)
NEXT_AGENTS = Query(
    _AGENTS.where(
        or_(
            reported_agents.c.registered_at > integer("registered_at"),
            and_(
                reported_agents.c.registered_at == integer("registered_at"),
                reported_agents.c.agent_id > string("after"),
            ),
        )
    )
)
AGENT = Query(select(reported_agents).where(reported_agents.c.agent_id == string("agent_id")))
COUNTS_OF = Query(
    select(func.count(), _ACTIVE).select_from(report_sessions).where(report_sessions.c.agent_id == string("agent_id"))
)
SESSIONS = Query(
    select(report_sessions)
    .where(report_sessions.c.agent_id == string("agent_id"))
    .order_by(report_sessions.c.updated_at.desc(), report_sessions.c.session_id)
)
SESSION = Query(select(report_sessions).where(report_sessions.c.session_id == string("session_id")))
_NEWEST_FIRST = (
    agent_reports.c.reported_at.desc(),
    agent_reports.c.reported_ns.desc(),
    agent_reports.c.sequence.desc(),
)
# Walks agent_reports_of_agent backwards and stops at the limit.
HISTORY_OF_AGENT = Query(
    select(agent_reports)
    .where(agent_reports.c.agent_id == string("agent_id"))
    .order_by(*_NEWEST_FIRST)
    .limit(integer("size"))
)
# Sorts what is kept of one session.
HISTORY_OF_SESSION = Query(
    select(agent_reports)
    .where(agent_reports.c.session_id == string("session_id"))
    .order_by(*_NEWEST_FIRST)
    .limit(integer("size"))
)
_FEED = (
    select(agent_reports)
    .where(agent_reports.c.sequence > integer("after"))
    .order_by(agent_reports.c.sequence)
    .limit(integer("size"))
)
FEED = Query(_FEED)
FEED_OF_AGENT = Query(_FEED.where(agent_reports.c.agent_id == string("agent_id")))
DUE = Query(
    select(report_sessions.c.session_id)
    .where(report_sessions.c.expired_at.is_(None), report_sessions.c.expires_at < integer("now"))
    .limit(number(1))
)
ALL_DUE = Query(
    select(report_sessions)
    .where(report_sessions.c.expired_at.is_(None), report_sessions.c.expires_at < integer("now"))
    .order_by(report_sessions.c.expires_at)
    .limit(integer("size"))
)
EXPIRE = Query(
    update(report_sessions)
    .values(expired_at=integer("now"), expired_sequence=integer("sequence"))
    .where(report_sessions.c.session_id == string("session_id"))
)
_EXPIRED = (
    select(report_sessions)
    .where(report_sessions.c.expired_sequence > integer("after"))
    .order_by(report_sessions.c.expired_sequence)
    .limit(integer("size"))
)
EXPIRED = Query(_EXPIRED)
EXPIRED_OF_AGENT = Query(_EXPIRED.where(report_sessions.c.agent_id == string("agent_id")))
SILENT = Query(
    select(report_sessions.c.session_id, report_sessions.c.agent_id)
    .where(report_sessions.c.updated_at < integer("before"))
    .order_by(report_sessions.c.updated_at)
    .limit(integer("size"))
)
DROP_REPORTS = Query(delete(agent_reports).where(among(agent_reports.c.session_id, "session_ids")))
DROP_SESSIONS = Query(delete(report_sessions).where(among(report_sessions.c.session_id, "session_ids")))
DROP_AGENTS = Query(
    delete(reported_agents).where(
        among(reported_agents.c.agent_id, "agent_ids"),
        ~select(report_sessions.c.session_id).where(report_sessions.c.agent_id == reported_agents.c.agent_id).exists(),
    )
)


def report_all(conn: Connection, filings: Sequence[Filing]) -> list[AgentReport | RunnerError]:
    """Stores reports in their order; those that were stored before are answered as they were then."""
    before = [_filed(conn, filing) for filing in filings]
    stored = iter(_store(conn, [filing for filing, known in zip(filings, before, strict=True) if known is None]))
    return [next(stored) if known is None else known for known in before]


def _filed(conn: Connection, filing: Filing) -> AgentReport | RunnerError | None:
    try:
        known = answers.known(conn, filing.mark)
    except AlreadyExists as error:
        return error
    if known is None:
        return None
    sequence, reported_at, received_at = map(int, known.split())
    return replace(taken(filing.new, sequence=sequence, now=received_at), reported_at=reported_at)


def _store(conn: Connection, filings: Sequence[Filing]) -> list[AgentReport]:
    if not filings:
        return []
    # The row of the numbers is locked until the commit: who comes behind sees all of it.
    conn.run(NUMBER, {"count": len(filings)})
    first = last_sequence(conn) - len(filings) + 1
    now = conn.now()
    reports = [taken(filing.new, sequence=first + place, now=now) for place, filing in enumerate(filings)]
    agent_ids = {report.agent_id for report in reports}
    session_ids = {session_id(report.agent_id, report.topic) for report in reports}
    agents = {row[0]: agent_of(row) for row in conn.all(AGENTS_OF, {"agent_ids": conn.array(agent_ids)})}
    sessions = {row[0]: session_of(row) for row in conn.all(SESSIONS_OF, {"session_ids": conn.array(session_ids)})}
    known_agents, known_sessions = set(agents), set(sessions)
    rows: list[dict[str, Any]] = []
    forget: dict[str, int] = {}
    for filing, report in zip(filings, reports, strict=True):
        key = session_id(report.agent_id, report.topic)
        agents[report.agent_id] = agent_after(agents.get(report.agent_id), filing.new, report)
        session = sessions[key] = session_after(
            sessions.get(key), filing.new, report, default_ttl_minutes=filing.default_ttl_minutes
        )
        rows.append(report_values(report, key, session.reports))
        if session.reports > filing.history:
            forget[key] = session.reports - filing.history
    conn.many(ADD_REPORT, rows)
    conn.many(FORGET, [{"session_id": key, "last": last} for key, last in forget.items()])
    conn.many(ADD_AGENT, [agent_values(agent) for agent_id, agent in agents.items() if agent_id not in known_agents])
    conn.many(SAVE_AGENT, [agent_values(agents[agent_id], changes=True) for agent_id in known_agents])
    conn.many(ADD_SESSION, [session_values(one) for key, one in sessions.items() if key not in known_sessions])
    conn.many(SAVE_SESSION, [session_values(sessions[key], changes=True) for key in known_sessions])
    for filing, report in zip(filings, reports, strict=True):
        answers.note(conn, filing.mark, f"{report.sequence} {report.reported_at} {report.received_at}")
    return reports


def last_sequence(conn: Connection) -> int:
    row = conn.one(LAST_NUMBER)
    return int(row[0]) if row else 0


def agent(conn: Connection, agent_id: str) -> ReportedAgent:
    row = conn.one(AGENT, {"agent_id": agent_id}) if storable(agent_id) else None
    if row is None:
        raise ReportedAgentNotFound(agent_id=agent_id)
    counts = conn.one(COUNTS_OF, {"agent_id": agent_id}) or (0, 0)
    return agent_of((*row, counts[0], counts[1] or 0))


def agents(conn: Connection, limit: int, after: str) -> list[ReportedAgent]:
    size = limit or _ENDLESS
    if not after:
        return [agent_of(row) for row in conn.all(FIRST_AGENTS, {"size": size})]
    try:
        last = agent(conn, after)
    except ReportedAgentNotFound:
        raise InvalidArgument(field="page_token", problem="it is not of this list") from None
    values = {"size": size, "registered_at": last.registered_at, "after": after}
    return [agent_of(row) for row in conn.all(NEXT_AGENTS, values)]


def sessions(conn: Connection, agent_id: str) -> list[ReportSession]:
    if not storable(agent_id):
        return []
    return [session_of(row) for row in conn.all(SESSIONS, {"agent_id": agent_id})]


def session(conn: Connection, agent_id: str, topic: str) -> ReportSession:
    known = storable(agent_id) and storable(topic)
    row = conn.one(SESSION, {"session_id": session_id(agent_id, topic)}) if known else None
    if row is None:
        raise ReportSessionNotFound(agent_id=agent_id, topic=topic)
    return session_of(row)


def history(conn: Connection, agent_id: str, topic: str | None, limit: int) -> list[AgentReport]:
    if not storable(agent_id) or not storable(topic or ""):
        return []
    if topic is None:
        rows = conn.all(HISTORY_OF_AGENT, {"agent_id": agent_id, "size": limit})
    else:
        rows = conn.all(HISTORY_OF_SESSION, {"session_id": session_id(agent_id, topic), "size": limit})
    return [report_of(row) for row in rows]


def feed(conn: Connection, after: int, limit: int, agent_id: str) -> list[AgentReport]:
    values = {"after": after, "size": limit}
    if not agent_id:
        return [report_of(row) for row in conn.all(FEED, values)]
    if not storable(agent_id):
        return []
    return [report_of(row) for row in conn.all(FEED_OF_AGENT, {**values, "agent_id": agent_id})]


def is_due(conn: Connection) -> bool:
    return conn.one(DUE, {"now": conn.now()}) is not None


def expire(conn: Connection, limit: int) -> int:
    # As a reporter would: nobody else numbers, and what was due may have been revived.
    conn.run(NUMBER, {"count": 0})
    now = conn.now()
    due = [row[0] for row in conn.all(ALL_DUE, {"now": now, "size": limit})]
    if due:
        conn.run(NUMBER, {"count": len(due)})
        first = last_sequence(conn) - len(due) + 1
        conn.many(EXPIRE, [{"session_id": key, "now": now, "sequence": first + place} for place, key in enumerate(due)])
    return len(due)


def expired(conn: Connection, after: int, limit: int, agent_id: str) -> list[ReportSession]:
    values = {"after": after, "size": limit}
    if not agent_id:
        return [session_of(row) for row in conn.all(EXPIRED, values)]
    if not storable(agent_id):
        return []
    return [session_of(row) for row in conn.all(EXPIRED_OF_AGENT, {**values, "agent_id": agent_id})]


def purge(conn: Connection, silent_since: int, limit: int) -> int:
    # As a reporter would: a session that is just being revived is not taken from it.
    conn.run(NUMBER, {"count": 0})
    rows = conn.all(SILENT, {"before": silent_since, "size": limit})
    if rows:
        session_ids = conn.array(row[0] for row in rows)
        conn.run(DROP_REPORTS, {"session_ids": session_ids})
        conn.run(DROP_SESSIONS, {"session_ids": session_ids})
        conn.run(DROP_AGENTS, {"agent_ids": conn.array({row[1] for row in rows})})
        conn.reclaim()
    return len(rows)
