"""The audit."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, insert, select

from runner_service.domain.audit import AuditEntry
from runner_service.store.schema import audit_entries
from runner_service.store.statements import Connection, Query, Row, integer, string

_COLUMNS = tuple(column.name for column in audit_entries.c if column.name != "sequence")
APPEND = Query(insert(audit_entries), columns=_COLUMNS)
_BACKWARDS = (
    select(audit_entries)
    .where(audit_entries.c.sequence < integer("before"))
    .order_by(audit_entries.c.sequence.desc())
    .limit(integer("size"))
)
NEWEST = Query(_BACKWARDS)
NEWEST_OF = Query(_BACKWARDS.where(audit_entries.c.principal == string("who")))
# Oldest first is the order of the key; times and numbers rise together but for the clocks of several servers.
OLDEST = Query(
    select(audit_entries.c.sequence, audit_entries.c.at).order_by(audit_entries.c.sequence).limit(integer("size"))
)
PURGE = Query(delete(audit_entries).where(audit_entries.c.sequence <= integer("last")))


def _entry_of(row: Row) -> AuditEntry:
    return AuditEntry(
        sequence=row[0],
        at=row[1],
        principal=row[2],
        role=row[3],
        peer=row[4],
        method=row[5],
        target=row[6],
        status=row[7],
        request_id=row[8],
    )


def append(conn: Connection, entries: Sequence[AuditEntry]) -> None:
    conn.many(APPEND, [{name: _clean(getattr(entry, name)) for name in _COLUMNS} for entry in entries])


def list_entries(conn: Connection, limit: int, before: int, principal: str) -> list[AuditEntry]:
    values = {"before": before or 2**62, "size": limit}
    if principal:
        return [_entry_of(row) for row in conn.all(NEWEST_OF, {**values, "who": principal})]
    return [_entry_of(row) for row in conn.all(NEWEST, values)]


def purge(conn: Connection, before: int, limit: int) -> int:
    last = 0
    for sequence, at in conn.all(OLDEST, {"size": limit}):
        if at >= before:
            break
        last = sequence
    gone = conn.run(PURGE, {"last": last}) if last else 0
    if gone:
        conn.reclaim()
    return gone


def _clean(value: object) -> object:
    """A caller's text as both engines take it: without NUL and halves of surrogate pairs."""
    if not isinstance(value, str):
        return value
    return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
