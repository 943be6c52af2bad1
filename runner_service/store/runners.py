"""Registered machines."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from sqlalchemy import and_, bindparam, insert, or_, select, update

from runner_service.domain.errors import InvalidArgument, RunnerNotFound
from runner_service.domain.ids import is_id
from runner_service.domain.runners import Runner, RunnerState
from runner_service.store.rows import encode_map
from runner_service.store.schema import runners
from runner_service.store.statements import Connection, Query, Row, integer, string

_ALL = select(*(column for column in runners.c if column.name != "sync_number"))
_ONE = _ALL.where(runners.c.runner_id == string("runner_id"))
RUNNER = Query(_ONE)
LOCKED_RUNNER = Query(_ONE.with_for_update())
SYNC_NUMBER = Query(select(runners.c.sync_number).where(runners.c.runner_id == string("runner_id")))
ADD_RUNNER = Query(insert(runners))
SAVE_RUNNER = Query(
    update(runners)
    .values({column.name: bindparam(column.name, type_=column.type) for column in runners.c if not column.primary_key})
    .where(runners.c.runner_id == string("runner_id"))
)
# Walks runners_by_name and stops at the limit.
_ORDERED = _ALL.order_by(runners.c.name, runners.c.runner_id).limit(integer("limit"))
FIRST = Query(_ORDERED)
_BEHIND = or_(
    runners.c.name > string("name"),
    and_(runners.c.name == string("name"), runners.c.runner_id > string("after")),
)
FOLLOWING = Query(_ORDERED.where(runners.c.name >= string("name"), _BEHIND))


def runner_of(row: Row) -> Runner:
    return Runner(
        runner_id=row[0],
        name=row[1],
        state=RunnerState(row[2]),
        registered_at=row[3],
        credential_hash=row[4],
        labels=json.loads(row[5]),
        slots=row[6],
        local=bool(row[7]),
        version=row[8],
        boot_id=row[9],
        spool_id=row[10],
        session_id=row[11],
        last_seen_at=row[12],
        lease_until=row[13],
    )


def _values(runner: Runner, sync_number: int) -> dict[str, Any]:
    return {
        "runner_id": runner.runner_id,
        "name": runner.name,
        "state": runner.state.value,
        "registered_at": runner.registered_at,
        "credential_hash": runner.credential_hash,
        "labels": encode_map(runner.labels),
        "slots": runner.slots,
        "local": int(runner.local),
        "version": runner.version,
        "boot_id": runner.boot_id,
        "spool_id": runner.spool_id,
        "session_id": runner.session_id,
        "sync_number": sync_number,
        "last_seen_at": runner.last_seen_at,
        "lease_until": runner.lease_until,
    }


def get(conn: Connection, runner_id: str, *, lock: bool = False) -> Runner:
    row = conn.one(LOCKED_RUNNER if lock else RUNNER, {"runner_id": runner_id}) if is_id(runner_id) else None
    if row is None:
        raise RunnerNotFound(runner_id=runner_id)
    return runner_of(row)


def register(conn: Connection, runner: Runner) -> Runner:
    try:
        old = get(conn, runner.runner_id, lock=True)
    except RunnerNotFound:
        runner = replace(runner, registered_at=conn.now())
        conn.run(ADD_RUNNER, _values(runner, 0))
        return runner
    # A machine that registers again may still run jobs: what keeps them alive is not taken back.
    runner = replace(
        runner,
        registered_at=old.registered_at,
        session_id=runner.session_id or old.session_id,
        boot_id=runner.boot_id or old.boot_id,
        spool_id=runner.spool_id or old.spool_id,
        last_seen_at=max(runner.last_seen_at, old.last_seen_at),
        lease_until=max(runner.lease_until, old.lease_until),
    )
    save(conn, runner, sync_number_of(conn, runner.runner_id))
    return runner


def save(conn: Connection, runner: Runner, sync_number: int) -> None:
    conn.run(SAVE_RUNNER, _values(runner, sync_number))


def sync_number_of(conn: Connection, runner_id: str) -> int:
    """The number of the last Sync that was taken from the runner's session."""
    row = conn.one(SYNC_NUMBER, {"runner_id": runner_id})
    return int(row[0]) if row else 0


def list_runners(conn: Connection, limit: int, after: str) -> list[Runner]:
    size = limit or 2**62
    if not after:
        return [runner_of(row) for row in conn.all(FIRST, {"limit": size})]
    try:
        name = get(conn, after).name
    except RunnerNotFound:
        raise InvalidArgument(field="after", problem="it is not a runner of this list") from None
    return [runner_of(row) for row in conn.all(FOLLOWING, {"limit": size, "name": name, "after": after})]
