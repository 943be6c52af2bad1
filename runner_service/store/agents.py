"""Managed agents: what they are and have done."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import and_, insert, or_, select, update

from runner_service.domain.agents import AGENT_EVENT, Agent, AgentFinding, AgentView
from runner_service.domain.errors import AgentNotFound, InvalidArgument, RunnerError
from runner_service.domain.ids import is_id
from runner_service.domain.images import make_image, read_manifest
from runner_service.domain.jobs import Job, JobState
from runner_service.domain.logs import LogPosition
from runner_service.ports.store import Mark
from runner_service.store import answers, bodies, jobs
from runner_service.store.ledger import ADD_EVENT
from runner_service.store.rows import JOB_COLUMNS, JOB_WIDTH, job_of
from runner_service.store.schema import agents, attempts
from runner_service.store.schema import jobs as jobs_table
from runner_service.store.statements import Connection, Query, Row, among, integer, number, string

ENDLESS = 2**62

_AGENT_COLUMNS = tuple(column for column in agents.c if column.name != "removed")
_HERE = agents.c.job_id == string("job_id")
_KEPT = agents.c.removed == number(0)
_VIEW = select(*JOB_COLUMNS, *_AGENT_COLUMNS).where(agents.c.job_id == jobs_table.c.job_id, _KEPT)
VIEW = Query(_VIEW.where(_HERE))
LOCKED = Query(select(*_AGENT_COLUMNS).where(_HERE, _KEPT).with_for_update())
# Walks agents_newest backwards and stops at the limit.
_NEWEST = _VIEW.order_by(agents.c.created_at.desc(), agents.c.job_id.desc()).limit(integer("limit"))
_BEHIND = or_(
    agents.c.created_at < integer("created_at"),
    and_(agents.c.created_at == integer("created_at"), agents.c.job_id < string("after")),
)
_IN_STATES = among(jobs_table.c.state, "states")
LISTS = {
    (False, False): Query(_NEWEST),
    (False, True): Query(_NEWEST.where(agents.c.created_at <= integer("created_at"), _BEHIND)),
    (True, False): Query(_NEWEST.where(_IN_STATES)),
    (True, True): Query(_NEWEST.where(agents.c.created_at <= integer("created_at"), _BEHIND, _IN_STATES)),
}
CREATED_AT = Query(select(agents.c.created_at).where(_HERE))
ADD_AGENT = Query(insert(agents))
REMOVE = Query(update(agents).values(removed=number(1)).where(_HERE, _KEPT))
MEASURE = Query(
    update(agents)
    .values(memory_bytes=integer("memory"))
    .where(agents.c.job_id.in_(select(attempts.c.job_id).where(attempts.c.attempt_id == string("attempt_id"))))
)
RECORD = Query(
    update(agents)
    .values(
        requests=agents.c.requests + integer("more_requests"),
        tokens=agents.c.tokens + integer("more_tokens"),
        read_attempt_id=string("attempt_id"),
        read_sequence=integer("sequence"),
        read_offset=integer("offset"),
    )
    .where(_HERE)
)


def _agent_of(row: Row) -> Agent:
    return Agent(
        agent_id=row[0],
        name=row[1],
        image=row[2],
        image_id=row[3],
        manifest=read_manifest(bytes(row[4])),
        model=row[5],
        parameters=row[6],
        created_at=row[7],
        requests=row[8],
        tokens=row[9],
        memory_bytes=row[10],
        read_to=LogPosition(row[11], row[12], row[13]),
    )


def _values(agent: Agent) -> dict[str, Any]:
    return {
        "job_id": agent.agent_id,
        "name": agent.name,
        "image": agent.image,
        "image_id": agent.image_id,
        "manifest": make_image(agent.manifest).manifest_json,
        "model": agent.model,
        "parameters": agent.parameters,
        "created_at": agent.created_at,
        "requests": agent.requests,
        "tokens": agent.tokens,
        "memory_bytes": agent.memory_bytes,
        "read_attempt_id": agent.read_to.attempt_id,
        "read_sequence": agent.read_to.sequence,
        "read_offset": agent.read_to.offset,
        "removed": 0,
    }


def _views(conn: Connection, rows: Sequence[Row]) -> list[AgentView]:
    found = bodies.load(conn, [row[0] for row in rows])
    return [AgentView(agent=_agent_of(row[JOB_WIDTH:]), job=job_of(row, found[row[0]])) for row in rows]


def create(conn: Connection, agent: Agent, job: Job, fingerprint: str, queue_limit: int) -> AgentView:
    (made,) = jobs.create(conn, [jobs.NewJob(job, fingerprint, queue_limit)])
    if isinstance(made, RunnerError):
        raise made
    stored, fresh = made
    if not fresh:
        return get(conn, stored.job_id)
    agent = replace(agent, agent_id=stored.job_id, created_at=stored.created_at)
    conn.run(ADD_AGENT, _values(agent))
    return AgentView(agent=agent, job=stored)


def get(conn: Connection, agent_id: str) -> AgentView:
    row = conn.one(VIEW, {"job_id": agent_id}) if is_id(agent_id) else None
    if row is None:
        raise AgentNotFound(agent_id=agent_id)
    return _views(conn, [row])[0]


def list_agents(conn: Connection, states: Collection[JobState], limit: int, after: str) -> list[AgentView]:
    values: dict[str, Any] = {"limit": limit or ENDLESS}
    if states:
        values["states"] = conn.array(state.value for state in states)
    if after:
        place = conn.one(CREATED_AT, {"job_id": after}) if is_id(after) else None
        if place is None:
            raise InvalidArgument(field="after", problem="it is not an agent of this list")
        values |= {"created_at": place[0], "after": after}
    return _views(conn, conn.all(LISTS[bool(states), bool(after)], values))


def remove(conn: Connection, agent_id: str, mark: Mark | None) -> None:
    if answers.known(conn, mark) is not None:
        return
    if not (is_id(agent_id) and conn.run(REMOVE, {"job_id": agent_id})):
        raise AgentNotFound(agent_id=agent_id)
    answers.note(conn, mark)


def record(conn: Connection, agent_id: str, findings: Sequence[AgentFinding]) -> bool:
    # The time first: on PostgreSQL it gives the transaction the id that orders its events.
    now = conn.now()
    row = conn.one(LOCKED, {"job_id": agent_id}) if is_id(agent_id) else None
    if row is None:
        raise AgentNotFound(agent_id=agent_id)
    # Ids of attempts sort by the time they were made.
    read_to = _agent_of(row).read_to
    fresh = [finding for finding in findings if finding.behind > read_to]
    if not fresh:
        return False
    state = jobs.get(conn, agent_id).state
    last = fresh[-1].behind
    conn.run(
        RECORD,
        {
            "job_id": agent_id,
            "attempt_id": last.attempt_id,
            "sequence": last.sequence,
            "offset": last.offset,
            "more_requests": sum(finding.requests for finding in fresh),
            "more_tokens": sum(finding.tokens for finding in fresh),
        },
    )
    conn.many(
        ADD_EVENT,
        [
            {
                "job_id": agent_id,
                "at": now,
                "state": state.value,
                "kind": AGENT_EVENT + finding.note.kind,
                "attempt_id": finding.behind.attempt_id,
                "detail": finding.note.detail(),
            }
            for finding in fresh
            if finding.note is not None
        ],
    )
    return True


def measure(conn: Connection, attempt_id: str, memory_bytes: int) -> None:
    if is_id(attempt_id):
        conn.run(MEASURE, {"attempt_id": attempt_id, "memory": memory_bytes})
