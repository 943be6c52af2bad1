"""Answers to requests that bear an id."""

from __future__ import annotations

import hashlib

from sqlalchemy import bindparam, delete, insert, select, update

from runner_service.domain.errors import AlreadyExists
from runner_service.ports.store import AnswerKey, KeptAnswer, Mark
from runner_service.store.schema import answers
from runner_service.store.statements import Connection, Query, integer, number, string

_KEY = (
    answers.c.caller == string("caller"),
    answers.c.method == string("method"),
    answers.c.request_id == string("request_id"),
)
FIND = Query(select(answers.c.fingerprint, answers.c.answer, answers.c.told, answers.c.note).where(*_KEY))
ADD = Query(insert(answers))
TELL = Query(update(answers).values(answer=bindparam("said", type_=answers.c.answer.type), told=number(1)).where(*_KEY))
# Walks the index answers_by_age from its old end.
OLDEST = Query(
    select(answers.c.caller, answers.c.method, answers.c.request_id)
    .where(answers.c.at < integer("before"))
    .order_by(answers.c.at)
    .limit(integer("limit"))
)
DROP = Query(delete(answers).where(*_KEY))


def find(conn: Connection, key: AnswerKey) -> KeptAnswer | None:
    row = conn.one(FIND, key._asdict())
    return None if row is None else KeptAnswer(row[0], row[1] if row[2] else None)


def begin(conn: Connection, mark: Mark, text: str) -> str:
    said = known(conn, mark)
    if said is None:
        note(conn, mark, text)
        said = text
    return said


def keep(conn: Connection, key: AnswerKey, fingerprint: str, answer: bytes) -> None:
    _serialize(conn, key)
    row = conn.one(FIND, key._asdict())
    if row is None:
        _add(conn, key, fingerprint, answer=answer, told=1)
    elif not row[2]:
        conn.run(TELL, {**key._asdict(), "said": answer})


def known(conn: Connection, mark: Mark | None) -> str | None:
    """The note of a request that was carried out before; None: it was not, and nobody else can until this transaction
    is over. Raises `AlreadyExists`."""
    if mark is None:
        return None
    _serialize(conn, mark.key)
    row = conn.one(FIND, mark.key._asdict())
    if row is None:
        return None
    if row[0] != mark.fingerprint:
        raise AlreadyExists(request_id=mark.key.request_id)
    return str(row[3])


def note(conn: Connection, mark: Mark | None, text: str = "") -> None:
    """A request that was not `known` is carried out in this transaction."""
    if mark is not None:
        _add(conn, mark.key, mark.fingerprint, note=text)


def _add(
    conn: Connection, key: AnswerKey, fingerprint: str, *, answer: bytes = b"", told: int = 0, note: str = ""
) -> None:
    values = {"fingerprint": fingerprint, "at": conn.now(), "answer": answer, "told": told, "note": note}
    conn.run(ADD, {**key._asdict(), **values})


def _serialize(conn: Connection, key: AnswerKey) -> None:
    digest = hashlib.blake2b("\0".join(key).encode(), digest_size=8).digest()
    conn.serialize(int.from_bytes(digest, "big", signed=True))


def drop(conn: Connection, before: int, limit: int) -> int:
    rows = conn.all(OLDEST, {"before": before, "limit": limit})
    conn.many(DROP, [AnswerKey(*row)._asdict() for row in rows])
    if rows:
        conn.reclaim()
    return len(rows)
