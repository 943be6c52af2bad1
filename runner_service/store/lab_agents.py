"""Agents of labs, the queues that they advertise, and who may push to those."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import and_, delete, null, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from runner_service.domain.errors import AgentTaken, InvalidArgument, LabAgentNotFound
from runner_service.domain.json_text import members_of, object_of
from runner_service.domain.queues import LabAgent, ProvisionLog
from runner_service.store import queues
from runner_service.store.schema import lab_agents, lab_provision_logs, lab_queue_owners, lab_queues, queue_jobs
from runner_service.store.statements import Connection, Query, Row, integer, number, string

AGENTS_LOCK = 0x4C414253
"""Restrictions of queues change one after the other."""
MOST_LINES = 100
MOST_PROVISION_LOGS = 100
MOST_EXTRA = 64 * 1024

_ALL = select(*lab_agents.c)
AGENT = Query(_ALL.where(lab_agents.c.name == string("name")))
AGENTS = Query(_ALL.order_by(lab_agents.c.name))
_SAVE = upsert(lab_agents)
SAVE_AGENT = Query(
    _SAVE.on_conflict_do_update(
        index_elements=["name"],
        set_={column.name: _SAVE.excluded[column.name] for column in lab_agents.c if not column.primary_key},
    )
)
DROP_AGENTS = Query(delete(lab_agents).where(lab_agents.c.updated_at < integer("before")))
DROP_AGENT_LOGS = Query(delete(lab_provision_logs).where(lab_provision_logs.c.at < integer("before")))
RENEW = Query(
    update(queue_jobs)
    .values(lease_until=integer("now") + queue_jobs.c.lease_us)
    .where(
        queue_jobs.c.lease_until.is_not(None),
        queue_jobs.c.job_id == string("job_id"),
        queue_jobs.c.agent == string("agent"),
    )
)
ADOPT = Query(
    update(queue_jobs)
    .values(agent=string("agent"))
    .where(
        queue_jobs.c.lease_until.is_not(None),
        queue_jobs.c.job_id == string("job_id"),
        queue_jobs.c.agent == string("nobody"),
    )
)
_LOGS_OF = lab_provision_logs.c.agent == string("agent")
LOGS = Query(select(*lab_provision_logs.c).where(_LOGS_OF).order_by(lab_provision_logs.c.number))
NEWEST_LOG = Query(
    select(lab_provision_logs.c.number).where(_LOGS_OF).order_by(lab_provision_logs.c.number.desc()).limit(number(1))
)
ADD_LOG = Query(lab_provision_logs.insert())
DROP_LOGS = Query(delete(lab_provision_logs).where(_LOGS_OF, lab_provision_logs.c.number <= integer("number")))
_QUEUE = upsert(lab_queues)


def _set_queue(name: str) -> Query:
    told = {name: _QUEUE.excluded[name], "updated_at": _QUEUE.excluded.updated_at}
    return Query(_QUEUE.on_conflict_do_update(index_elements=["queue"], set_=told))


DESCRIBE, SET_IMAGES, RESTRICT = _set_queue("description"), _set_queue("images"), _set_queue("restricted")
_OF_QUEUE = lab_queues.c.queue == string("queue")
ADVERTISED = Query(
    select(lab_queues.c.queue, lab_queues.c.description)
    .where(lab_queues.c.description.is_not(None))
    .order_by(lab_queues.c.queue)
)
IMAGES = Query(select(lab_queues.c.images).where(_OF_QUEUE))
RESTRICTED = Query(
    select(lab_queues.c.queue, lab_queue_owners.c.client_id)
    .select_from(lab_queues)
    .outerjoin(lab_queue_owners, lab_queue_owners.c.queue == lab_queues.c.queue)
    .where(lab_queues.c.restricted == number(1))
    .order_by(lab_queues.c.queue, lab_queue_owners.c.client_id)
)
OPEN = Query(update(lab_queues).values(restricted=number(0)).where(_OF_QUEUE))
STALE = Query(
    select(lab_queues.c.queue).where(
        lab_queues.c.updated_at < integer("before"),
        or_(lab_queues.c.description.is_not(None), lab_queues.c.images.is_not(None)),
    )
)
FORGET = Query(update(lab_queues).values(description=null(), images=null()).where(_OF_QUEUE))
DROP_QUEUES = Query(
    delete(lab_queues).where(
        lab_queues.c.description.is_(None), lab_queues.c.images.is_(None), lab_queues.c.restricted == number(0)
    )
)
_OWNER = upsert(lab_queue_owners)
ADD_OWNER = Query(_OWNER.on_conflict_do_nothing())
DROP_OWNER = Query(
    delete(lab_queue_owners).where(
        and_(lab_queue_owners.c.queue == string("queue"), lab_queue_owners.c.client_id == string("client_id"))
    )
)


def agent_of(row: Row, *, with_log: bool = True) -> LabAgent:
    return LabAgent(
        name=row[0],
        state=row[1],
        queues=tuple(json.loads(row[2])),
        location=row[3],
        provision_type=row[4],
        job_id=row[5],
        identifier=row[6],
        comment=row[7],
        updated_at=row[8],
        streak_type=row[9],
        streak_count=row[10],
        lost=bool(row[11]),
        client_id=row[12],
        log=tuple(json.loads(row[13])) if with_log else (),
        extra=row[14],
    )


def _save(conn: Connection, agent: LabAgent) -> None:
    conn.run(
        SAVE_AGENT,
        {
            "name": agent.name,
            "state": agent.state,
            "queues": json.dumps(list(agent.queues)),
            "location": agent.location,
            "provision_type": agent.provision_type,
            "job_id": agent.job_id,
            "identifier": agent.identifier,
            "comment": agent.comment,
            "updated_at": agent.updated_at,
            "streak_type": agent.streak_type,
            "streak_count": agent.streak_count,
            "lost": int(agent.lost),
            "client_id": agent.client_id,
            "log": json.dumps(list(agent.log)),
            "extra": agent.extra,
        },
    )


def get(conn: Connection, name: str) -> LabAgent:
    row = conn.one(AGENT, {"name": name})
    if row is None:
        raise LabAgentNotFound(agent=name)
    return agent_of(row)


def _for_change(conn: Connection, name: str) -> LabAgent:
    """The agent, known or new, with its changes serialized."""
    conn.serialize(queues.lock_of(f"agent {name}"))
    row = conn.one(AGENT, {"name": name})
    return agent_of(row) if row else LabAgent(name=name)


def post(
    conn: Connection,
    name: str,
    changes: Mapping[str, Any],
    log: Sequence[str],
    client_id: str,
    extra: Mapping[str, str],
) -> None:
    agent = _for_change(conn, name)
    if client_id and agent.client_id not in ("", client_id):
        raise AgentTaken(agent=name)
    now = conn.now()
    lines = (*agent.log, *log)[-MOST_LINES:]
    owner = agent.client_id or client_id
    beyond = object_of({**members_of(agent.extra), **extra}) if extra else agent.extra
    if len(beyond) > MOST_EXTRA:
        raise InvalidArgument(field="json", problem=f"beyond what is known an agent may say {MOST_EXTRA} characters")
    agent = replace(agent, **changes, updated_at=now, lost=False, client_id=owner, log=lines, extra=beyond)
    _save(conn, agent)
    # An agent that gave no name when it popped says now who it is.
    conn.run(ADOPT, {"job_id": agent.job_id, "agent": name, "nobody": ""})
    conn.run(RENEW, {"now": now, "job_id": agent.job_id, "agent": name})


def list_agents(conn: Connection) -> list[LabAgent]:
    return [agent_of(row, with_log=False) for row in conn.all(AGENTS)]


def add_provision_log(conn: Connection, name: str, entry: ProvisionLog) -> None:
    agent = _for_change(conn, name)
    now = conn.now()
    kind = "fail" if entry.exit_code else "pass"
    count = agent.streak_count + 1 if agent.streak_type == kind else 1
    _save(conn, replace(agent, updated_at=now, lost=False, streak_type=kind, streak_count=count))
    row = conn.one(NEWEST_LOG, {"agent": name})
    newest = int(row[0]) + 1 if row else 1
    values = {"job_id": entry.job_id, "exit_code": entry.exit_code, "detail": entry.detail, "at": now}
    conn.run(ADD_LOG, {"agent": name, "number": newest, **values})
    conn.run(DROP_LOGS, {"agent": name, "number": newest - MOST_PROVISION_LOGS})


def provision_logs(conn: Connection, name: str) -> list[ProvisionLog]:
    return [
        ProvisionLog(job_id=row[2], exit_code=row[3], detail=row[4], at=row[5])
        for row in conn.all(LOGS, {"agent": name})
    ]


def _queue(conn: Connection, queue: str, **values: Any) -> dict[str, Any]:
    blank = {"queue": queue, "description": None, "images": None, "restricted": 0, "updated_at": conn.now()}
    return {**blank, **values}


def advertise(conn: Connection, descriptions: Mapping[str, str]) -> None:
    conn.many(DESCRIBE, [_queue(conn, queue, description=text) for queue, text in sorted(descriptions.items())])


def set_images(conn: Connection, images: Mapping[str, str]) -> None:
    conn.many(SET_IMAGES, [_queue(conn, queue, images=text) for queue, text in sorted(images.items())])


def advertised(conn: Connection) -> Mapping[str, str]:
    return dict(conn.all(ADVERTISED))  # type: ignore[arg-type]


def images(conn: Connection, queue: str) -> str:
    row = conn.one(IMAGES, {"queue": queue})
    return (row[0] or "") if row else ""


def restricted(conn: Connection) -> Mapping[str, Sequence[str]]:
    found: dict[str, list[str]] = {}
    for queue, owner in conn.all(RESTRICTED):
        found.setdefault(queue, []).extend([owner] if owner is not None else [])
    return found


def owners(conn: Connection, queue: str) -> Sequence[str] | None:
    return restricted(conn).get(queue)


def restrict(conn: Connection, queue: str, client_id: str) -> None:
    conn.serialize(AGENTS_LOCK)
    conn.run(RESTRICT, _queue(conn, queue, restricted=1))
    conn.run(ADD_OWNER, {"queue": queue, "client_id": client_id})


def release(conn: Connection, queue: str, client_id: str | None) -> bool:
    conn.serialize(AGENTS_LOCK)
    left = owners(conn, queue)
    if left is None or (client_id is None and left):
        return False
    if client_id is None:
        return conn.run(OPEN, {"queue": queue}) > 0
    return conn.run(DROP_OWNER, {"queue": queue, "client_id": client_id}) > 0


def expire(conn: Connection, updated_before: int) -> None:
    conn.run(DROP_AGENT_LOGS, {"before": updated_before})
    conn.run(DROP_AGENTS, {"before": updated_before})
    served = {queue for agent in list_agents(conn) for queue in agent.queues}
    for (queue,) in conn.all(STALE, {"before": updated_before}):
        if queue not in served:
            conn.run(FORGET, {"queue": queue})
    conn.run(DROP_QUEUES)
