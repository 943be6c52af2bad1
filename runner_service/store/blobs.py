"""Which rows name a blob."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select

from runner_service.store.schema import artifact_parts, attempts, images, lab_files
from runner_service.store.statements import Connection, Query, among

# An index of each is by this column.
NAMED = tuple(
    Query(select(table.c.blob_key).where(among(table.c.blob_key, "keys")))
    for table in (artifact_parts, lab_files, images)
)
ATTEMPTS = Query(select(attempts.c.attempt_id).where(among(attempts.c.attempt_id, "attempt_ids")))


def owned(conn: Connection, keys: Collection[str]) -> set[str]:
    values = {"keys": conn.array(keys)}
    found = {key for query in NAMED for (key,) in conn.all(query, values)}
    # The log of an attempt has one key for ever, and nobody writes it once the attempt is gone.
    logs = {key.rpartition("/")[2]: key for key in keys if key.startswith("logs/")}
    rows = conn.all(ATTEMPTS, {"attempt_ids": conn.array(logs)}) if logs else ()
    return found | {logs[attempt_id] for (attempt_id,) in rows}


def now(conn: Connection) -> int:
    return conn.now()
