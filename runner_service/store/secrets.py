"""Secrets, sealed."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import bindparam, delete, insert, select, update

from runner_service.domain.errors import SecretNotFound
from runner_service.domain.secrets import Secret
from runner_service.ports.store import Mark
from runner_service.store import answers
from runner_service.store.schema import secrets
from runner_service.store.statements import Connection, Query, among, integer, string

PUT_LOCK = 0x53454352
"""Those who set secrets go one after the other: two may set the same new one."""

_NAMED = secrets.c.name == string("name")
ADD = Query(insert(secrets))
CHANGE = Query(
    update(secrets)
    .values(
        updated_at=integer("updated_at"),
        created_by=string("created_by"),
        sealed=bindparam("sealed", type_=secrets.c.sealed.type),
    )
    .where(_NAMED)
)
CREATED = Query(select(secrets.c.created_at).where(_NAMED))
SEALED = Query(select(secrets.c.name, secrets.c.sealed).where(among(secrets.c.name, "names")))
ALL = Query(
    select(secrets.c.name, secrets.c.created_at, secrets.c.updated_at, secrets.c.created_by).order_by(secrets.c.name)
)
DROP = Query(delete(secrets).where(_NAMED))


def put(conn: Connection, name: str, sealed: bytes, by: str, mark: Mark | None) -> Secret:
    if (before := answers.known(conn, mark)) is not None:
        # Others may have set or deleted it since.
        created_at, updated_at = map(int, before.split())
        return Secret(name=name, created_at=created_at, updated_at=updated_at, created_by=by)
    conn.serialize(PUT_LOCK)
    now = conn.now()
    values = {"name": name, "updated_at": now, "created_by": by, "sealed": sealed}
    known = conn.one(CREATED, {"name": name})
    if known is None:
        conn.run(ADD, {**values, "created_at": now})
    else:
        conn.run(CHANGE, values)
    created_at = now if known is None else int(known[0])
    answers.note(conn, mark, f"{created_at} {now}")
    return Secret(name=name, created_at=created_at, updated_at=now, created_by=by)


def get(conn: Connection, names: Collection[str]) -> Mapping[str, bytes]:
    return dict(conn.all(SEALED, {"names": conn.array(names)})) if names else {}  # type: ignore[arg-type]


def list_secrets(conn: Connection) -> list[Secret]:
    return [Secret(name=row[0], created_at=row[1], updated_at=row[2], created_by=row[3]) for row in conn.all(ALL)]


def drop(conn: Connection, name: str, mark: Mark | None) -> None:
    if answers.known(conn, mark) is not None:
        return
    if not conn.run(DROP, {"name": name}):
        raise SecretNotFound(name=name)
    answers.note(conn, mark)
