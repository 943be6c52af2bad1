"""The feeds of runners: an index over their events and over the output of the jobs that are bound to them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, delete, func, insert, literal_column, select, text

from runner_service.domain.logs import decode
from runner_service.domain.runner_feed import (
    Counts,
    FeedKind,
    FeedLevel,
    FeedRun,
    Line,
    SplitState,
    Splitter,
    count,
)
from runner_service.store.schema import attempts, runner_feed, runner_feed_heads, runner_feed_logs
from runner_service.store.statements import Connection, Query, Row, Values, among, integer, number, string, word

_encode = json.JSONEncoder(separators=(",", ":")).encode
TAKE_NUMBERS = Query(
    text(
        "INSERT INTO runner_feed_heads (runner_id, next) VALUES (:runner_id, 1 + :entries) "
        "ON CONFLICT (runner_id) DO UPDATE SET next = runner_feed_heads.next + :entries RETURNING next"
    )
)
HEAD = Query(select(runner_feed_heads.c.next).where(runner_feed_heads.c.runner_id == string("runner_id")))
ADD_RUN = Query(insert(runner_feed))
STATE = Query(select(runner_feed_logs.c.state).where(runner_feed_logs.c.attempt_id == string("attempt_id")))
SAVE_STATE = Query(
    text(
        "INSERT INTO runner_feed_logs (attempt_id, state) VALUES (:attempt_id, :state) "
        "ON CONFLICT (attempt_id) DO UPDATE SET state = :state"
    )
)
DROP_STATE = Query(delete(runner_feed_logs).where(runner_feed_logs.c.attempt_id == string("attempt_id")))
_OF_RUNNER = runner_feed.c.runner_id == string("runner_id")
_IN_TIME = (runner_feed.c.last_at >= integer("since")) & (runner_feed.c.first_at < integer("until"))
_ALL = select(runner_feed)


def _with(level: FeedLevel | None) -> list[ColumnElement[bool]]:
    return [] if level is None else [runner_feed.c[level.lower()] > number(0)]


# Both walk the primary key and stop at the limit.
_NEWEST = _ALL.where(runner_feed.c.first < integer("below"), _IN_TIME)
NEWEST = {
    level: Query(_NEWEST.where(_OF_RUNNER, *_with(level)).order_by(runner_feed.c.first.desc()).limit(integer("limit")))
    for level in (None, *FeedLevel)
}
# The part of one job, which is in one feed only: walks runner_feed_of_job.
_OF_JOB = [runner_feed.c.job_id == string("job_id"), literal_column("runner_feed.job_id") != text("''")]
NEWEST_OF_JOB = {
    level: Query(_NEWEST.where(*_OF_JOB, *_with(level)).order_by(runner_feed.c.first.desc()).limit(integer("limit")))
    for level in (None, *FeedLevel)
}
HOLDING = Query(
    _ALL.where(_OF_RUNNER, runner_feed.c.first <= integer("behind"))
    .order_by(runner_feed.c.first.desc())
    .limit(number(1))
)
BEHIND = Query(
    _ALL.where(_OF_RUNNER, runner_feed.c.first > integer("behind"))
    .order_by(runner_feed.c.first)
    .limit(integer("limit"))
)
_TOTALS = select(
    func.coalesce(func.sum(runner_feed.c.debug), number(0)),
    func.coalesce(func.sum(runner_feed.c.info), number(0)),
    func.coalesce(func.sum(runner_feed.c.warn), number(0)),
    func.coalesce(func.sum(runner_feed.c.error), number(0)),
).where(_IN_TIME)
_BORDERS = _ALL.where(
    _IN_TIME,
    (runner_feed.c.first_at < integer("since")) | (runner_feed.c.last_at >= integer("until")),
)
# Reads nothing but runner_feed_by_time.
TOTALS, BORDERS = Query(_TOTALS.where(_OF_RUNNER)), Query(_BORDERS.where(_OF_RUNNER))
TOTALS_OF_JOB, BORDERS_OF_JOB = Query(_TOTALS.where(*_OF_JOB)), Query(_BORDERS.where(*_OF_JOB))
# Reads attempts_bound.
OPEN_ATTEMPTS = Query(
    select(attempts.c.attempt_id, attempts.c.runner_id).where(
        literal_column("attempts.bound_to") != text("''"),
        literal_column("attempts.state") != word("FINISHED"),
        attempts.c.bound_to == string("runner_id"),
    )
)
DROP_JOBS = Query(delete(runner_feed).where(among(runner_feed.c.job_id, "job_ids"), runner_feed.c.job_id != text("''")))
# Walks the whole table, once an hour.
DROP_OLD_EVENTS = Query(
    delete(runner_feed).where(runner_feed.c.job_id == text("''"), runner_feed.c.last_at < integer("before"))
)
DROP_FEED = Query(delete(runner_feed).where(_OF_RUNNER))
DROP_HEAD = Query(delete(runner_feed_heads).where(runner_feed_heads.c.runner_id == string("runner_id")))


def run_of(row: Row) -> FeedRun:
    return FeedRun(
        runner_id=row[0],
        first=row[1],
        kind=FeedKind(row[2]),
        counts=Counts(row[3], row[4], row[5], row[6]),
        first_at=row[7],
        last_at=row[8],
        job_id=row[9],
        attempt_id=row[10],
        first_record=row[11],
        records=row[12],
        before=SplitState(*json.loads(row[13])) if row[13] else SplitState(),
        word=row[14],
        step=row[15],
        event=row[16],
    )


def add(conn: Connection, runs: Iterable[FeedRun]) -> None:
    """Appends runs, in order, to the feeds they name. Locks the head of each feed until the commit."""
    by_runner: dict[str, list[FeedRun]] = {}
    for run in runs:
        by_runner.setdefault(run.runner_id, []).append(run)
    rows = []
    for runner_id, mine in sorted(by_runner.items()):
        entries = sum(run.counts.all for run in mine)
        row = conn.one(TAKE_NUMBERS, {"runner_id": runner_id, "entries": entries})
        assert row is not None
        first = int(row[0]) - entries
        for run in mine:
            rows.append(_values(replace(run, first=first)))
            first += run.counts.all
    conn.many(ADD_RUN, rows)


def _values(run: FeedRun) -> dict[str, object]:
    return {
        "runner_id": run.runner_id,
        "first": run.first,
        "kind": run.kind.value,
        "debug": run.counts.debug,
        "info": run.counts.info,
        "warn": run.counts.warn,
        "error": run.counts.error,
        "first_at": run.first_at,
        "last_at": run.last_at,
        "job_id": run.job_id,
        "attempt_id": run.attempt_id,
        "first_record": run.first_record,
        "records": run.records,
        "before": _encode(list(run.before)) if run.before != SplitState() else "",
        "word": run.word,
        "step": run.step,
        "event": run.event,
    }


def output(conn: Connection, bound_to: str, job_id: str, attempt_id: str, chunks: Iterable[Values]) -> None:
    """Takes up new rows of ``log_chunks`` of a bound job. The attempt's row is locked."""
    row = conn.one(STATE, {"attempt_id": attempt_id})
    splitter = Splitter(SplitState(*json.loads(row[0])) if row else SplitState())
    runs = []
    for chunk in chunks:
        before = splitter.state
        lines: list[Line] = []
        first_ns = last_ns = 0
        for record, _ in decode(chunk["journal"]):
            first_ns, last_ns = first_ns or record.time_ns, record.time_ns
            lines += splitter.take(record)
        if lines:
            # A run may begin before its first entry ends, but never after.
            runs.append(
                FeedRun(
                    runner_id=bound_to,
                    first=0,
                    kind=FeedKind.OUTPUT,
                    counts=count(lines),
                    first_at=first_ns // 1000,
                    last_at=last_ns // 1000,
                    job_id=job_id,
                    attempt_id=attempt_id,
                    first_record=chunk["first_sequence"],
                    records=chunk["records"],
                    before=before,
                )
            )
    conn.run(SAVE_STATE, {"attempt_id": attempt_id, "state": _encode(list(splitter.state))})
    add(conn, runs)


def rest(conn: Connection, bound_to: str, job_id: str, attempt_id: str, *, records: int, at: int) -> None:
    """Takes up the lines that are left unfinished when the log of a bound job has ended."""
    row = conn.one(STATE, {"attempt_id": attempt_id})
    if row is None:
        return
    conn.run(DROP_STATE, {"attempt_id": attempt_id})
    before = SplitState(*json.loads(row[0]))
    counts = Counts(info=int(before.out_from >= 0), error=int(before.err_from >= 0))
    if counts.all:
        run = FeedRun(
            runner_id=bound_to,
            first=0,
            kind=FeedKind.REST,
            counts=counts,
            first_at=at,
            last_at=at,
            job_id=job_id,
            attempt_id=attempt_id,
            first_record=records,
            before=before,
        )
        add(conn, [run])


def newest(
    conn: Connection,
    runner_id: str,
    job_id: str,
    since: int,
    until: int,
    level: FeedLevel | None,
    below: int,
    limit: int,
) -> list[FeedRun]:
    values: dict[str, object] = {
        "runner_id": runner_id,
        "since": since,
        "until": until,
        "below": below,
        "limit": limit,
    }
    query = NEWEST[level]
    if job_id:
        values["job_id"] = job_id
        query = NEWEST_OF_JOB[level]
    return [run_of(row) for row in conn.all(query, values)]


def behind(conn: Connection, runner_id: str, after: int, limit: int) -> list[FeedRun]:
    found = []
    holding = conn.one(HOLDING, {"runner_id": runner_id, "behind": after})
    if holding is not None:
        run = run_of(holding)
        if run.first + run.counts.all > after + 1:
            found.append(run)
    rows = conn.all(BEHIND, {"runner_id": runner_id, "behind": after, "limit": limit})
    return found + [run_of(row) for row in rows]


def totals(conn: Connection, runner_id: str, job_id: str, since: int, until: int) -> tuple[Counts, Sequence[FeedRun]]:
    values: dict[str, object] = {"runner_id": runner_id, "since": since, "until": until}
    counted, borders = TOTALS, BORDERS
    if job_id:
        values["job_id"] = job_id
        counted, borders = TOTALS_OF_JOB, BORDERS_OF_JOB
    row = conn.one(counted, values)
    assert row is not None
    return Counts(*map(int, row)), [run_of(each) for each in conn.all(borders, values)]


def last(conn: Connection, runner_id: str) -> int:
    row = conn.one(HEAD, {"runner_id": runner_id})
    return int(row[0]) - 1 if row else 0


def open_attempts(conn: Connection, runner_id: str) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in conn.all(OPEN_ATTEMPTS, {"runner_id": runner_id})]


def drop_runner(conn: Connection, runner_id: str) -> None:
    conn.run(DROP_FEED, {"runner_id": runner_id})
    conn.run(DROP_HEAD, {"runner_id": runner_id})
