"""Answers to requests that bear an id."""

from __future__ import annotations

from sqlalchemy import delete, insert, select

from runner_service.ports.store import AnswerKey, KeptAnswer
from runner_service.store.schema import answers
from runner_service.store.statements import Connection, Query, integer, string

_KEY = (
    answers.c.caller == string("caller"),
    answers.c.method == string("method"),
    answers.c.request_id == string("request_id"),
)
FIND = Query(select(answers.c.fingerprint, answers.c.answer).where(*_KEY))
KEEP = Query(insert(answers))
# Walks the index answers_by_age from its old end.
OLDEST = Query(
    select(answers.c.caller, answers.c.method, answers.c.request_id)
    .where(answers.c.at < integer("before"))
    .order_by(answers.c.at)
    .limit(integer("limit"))
)
DROP = Query(delete(answers).where(*_KEY))
_LOCK = 0x616E7377
"""So that of two servers that answer one request one is first."""


def find(conn: Connection, key: AnswerKey) -> KeptAnswer | None:
    row = conn.one(FIND, key._asdict())
    return None if row is None else KeptAnswer(row[0], row[1])


def keep(conn: Connection, key: AnswerKey, fingerprint: str, answer: bytes) -> None:
    conn.serialize(_LOCK)
    if find(conn, key) is None:
        conn.run(KEEP, {**key._asdict(), "fingerprint": fingerprint, "at": conn.now(), "answer": answer})


def drop(conn: Connection, before: int, limit: int) -> int:
    rows = conn.all(OLDEST, {"before": before, "limit": limit})
    conn.many(DROP, [AnswerKey(*row)._asdict() for row in rows])
    if rows:
        conn.reclaim()
    return len(rows)
