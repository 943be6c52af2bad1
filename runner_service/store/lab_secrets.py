"""Secrets of clients of labs, sealed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import and_, delete, insert, or_, select, update

from runner_service.domain.lab_secrets import LabSecret, SecretPlace
from runner_service.store.schema import lab_secrets
from runner_service.store.statements import Connection, Query, integer, number, string

_LOCK = 0x4C534543
"""Those who set and take secrets go one after the other: two may want the same."""

_c = lab_secrets.c
_AT = and_(_c.client_id == string("client_id"), _c.path == string("path"))
_ALIVE = or_(_c.expires_at.is_(None), _c.expires_at > integer("now"))
DROP = Query(delete(lab_secrets).where(_AT))
ADD = Query(insert(lab_secrets))
FREE = Query(select(_c.path).where(_AT, _ALIVE, _c.taken_by.is_(None)))
FIND = Query(select(_c.sealed, _c.ephemeral, _c.taken_by).where(_AT, _ALIVE))
TAKE = Query(update(lab_secrets).values(taken_by=string("job_id"), taken_at=integer("now")).where(_AT))
OVER = Query(
    select(_c.client_id, _c.path).where(
        or_(_c.expires_at <= integer("now"), and_(_c.ephemeral == number(1), _c.taken_at < integer("taken_before")))
    )
)


def put(conn: Connection, secret: LabSecret) -> None:
    conn.serialize(_LOCK)
    conn.run(DROP, secret.place._asdict())
    values: dict[str, Any] = {
        **secret.place._asdict(),
        "sealed": secret.sealed,
        "expires_at": secret.expires_at,
        "ephemeral": int(secret.ephemeral),
        "taken_by": None,
        "taken_at": None,
    }
    conn.run(ADD, values)


def accessible(conn: Connection, places: Collection[SecretPlace]) -> Collection[SecretPlace]:
    now = conn.now()
    return {place for place in places if conn.one(FREE, {**place._asdict(), "now": now}) is not None}


def take(conn: Connection, places: Collection[SecretPlace], job_id: str) -> Mapping[SecretPlace, bytes]:
    conn.serialize(_LOCK)
    now, found = conn.now(), {}
    for place in places:
        row = conn.one(FIND, {**place._asdict(), "now": now})
        if row is None or row[2] not in (None, job_id):
            continue
        found[place] = row[0]
        if row[1] and row[2] is None:
            conn.run(TAKE, {**place._asdict(), "job_id": job_id, "now": now})
    return found


def drop(conn: Connection, place: SecretPlace) -> None:
    conn.run(DROP, place._asdict())


def expire(conn: Connection, taken_before: int) -> int:
    over = [SecretPlace(*row) for row in conn.all(OVER, {"now": conn.now(), "taken_before": taken_before})]
    conn.many(DROP, [place._asdict() for place in over])
    return len(over)
