"""What happened to runners, in commit order, and in the feed of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import delete, func, insert, select

from runner_service.domain.runner_feed import RUNNER_PHRASES, Counts, FeedKind, FeedLevel, FeedRun
from runner_service.domain.runners import RunnerEvent, RunnerState
from runner_service.store import runner_feed
from runner_service.store.schema import runner_events
from runner_service.store.statements import Connection, Query, Row, integer

EVENT_LOCK = 0x52554E45
"""Whoever records one goes alone until the commit, so that the sequence is the order of commits. Taken last but for the
heads of feeds: what is locked by then is never waited for by who holds it."""
_COLUMNS = ("runner_id", "at", "kind", "old_state", "state", "detail")
ADD_EVENT = Query(insert(runner_events).returning(runner_events.c.sequence), columns=_COLUMNS)
_ALL = select(runner_events)
# Walks the primary key and stops at the limit.
EVENTS = Query(
    _ALL.where(runner_events.c.sequence > integer("after")).order_by(runner_events.c.sequence).limit(integer("limit"))
)
EVENT = Query(_ALL.where(runner_events.c.sequence == integer("sequence")))
LAST = Query(select(func.max(runner_events.c.sequence)))
# Walks runner_events_by_age.
DROP_OLD = Query(delete(runner_events).where(runner_events.c.at < integer("before")))


def record(
    conn: Connection,
    runner_id: str,
    at: int,
    kind: str,
    *,
    state: RunnerState | None,
    old_state: RunnerState | None = None,
    detail: str = "",
) -> None:
    conn.serialize(EVENT_LOCK)
    row = conn.one(
        ADD_EVENT,
        {
            "runner_id": runner_id,
            "at": at,
            "kind": kind,
            "old_state": old_state.value if old_state else "",
            "state": state.value if state else "",
            "detail": detail,
        },
    )
    assert row is not None
    level, _ = RUNNER_PHRASES[kind]
    if kind == "state" and state is RunnerState.ERROR:
        level = FeedLevel.ERROR
    run = FeedRun(
        runner_id=runner_id,
        first=0,
        kind=FeedKind.RUNNER,
        counts=Counts(**{level.lower(): 1}),
        first_at=at,
        last_at=at,
        event=int(row[0]),
    )
    runner_feed.add(conn, [run])


def _event_of(row: Row) -> RunnerEvent:
    return RunnerEvent(
        sequence=row[0],
        runner_id=row[1],
        at=row[2],
        kind=row[3],
        old_state=RunnerState(row[4]) if row[4] else None,
        state=RunnerState(row[5]) if row[5] else None,
        detail=row[6],
    )


def events(conn: Connection, after: int, limit: int) -> list[RunnerEvent]:
    return [_event_of(row) for row in conn.all(EVENTS, {"after": after, "limit": limit})]


def last_event(conn: Connection) -> int:
    row = conn.one(LAST)
    return int(row[0] or 0) if row else 0


def events_named(conn: Connection, sequences: Iterable[int]) -> Mapping[int, RunnerEvent]:
    found = {}
    for sequence in sequences:
        row = conn.one(EVENT, {"sequence": sequence})
        if row is not None:
            found[sequence] = _event_of(row)
    return found


def expire(conn: Connection, before: int) -> None:
    """Deletes what happened before, from the feeds too; output goes with its jobs."""
    conn.run(DROP_OLD, {"before": before})
    conn.run(runner_feed.DROP_OLD_EVENTS, {"before": before})
