"""Metrics of runners: buckets that samples add up in."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select, text

from runner_service.domain.metrics import Bucket
from runner_service.store.schema import runner_samples
from runner_service.store.statements import Connection, Query, integer, string

ADD = Query(
    text(
        "INSERT INTO runner_samples"
        " (runner_id, width, start, samples, cpu, cpu_most, memory, memory_most, disk, active)"
        " VALUES (:runner_id, :width, :start, :samples, :cpu, :cpu_most, :memory, :memory_most, :disk, :active)"
        " ON CONFLICT (runner_id, width, start) DO UPDATE SET"
        " samples = runner_samples.samples + excluded.samples,"
        " cpu = runner_samples.cpu + excluded.cpu,"
        " cpu_most = CASE WHEN excluded.cpu_most > runner_samples.cpu_most"
        " THEN excluded.cpu_most ELSE runner_samples.cpu_most END,"
        " memory = runner_samples.memory + excluded.memory,"
        " memory_most = CASE WHEN excluded.memory_most > runner_samples.memory_most"
        " THEN excluded.memory_most ELSE runner_samples.memory_most END,"
        " disk = runner_samples.disk + excluded.disk,"
        " active = runner_samples.active + excluded.active"
    )
)
# Walks the primary key.
READ = Query(
    select(runner_samples)
    .where(
        runner_samples.c.runner_id == string("runner_id"),
        runner_samples.c.width == integer("width"),
        runner_samples.c.start >= integer("since"),
        runner_samples.c.start < integer("until"),
    )
    .order_by(runner_samples.c.start)
)
# Reads nothing but runner_samples_by_age.
OLD = Query(
    select(runner_samples.c.runner_id, runner_samples.c.width, runner_samples.c.start)
    .where(runner_samples.c.width == integer("width"), runner_samples.c.start < integer("before"))
    .limit(integer("limit"))
)
DROP = Query(
    delete(runner_samples).where(
        runner_samples.c.runner_id == string("runner_id"),
        runner_samples.c.width == integer("width"),
        runner_samples.c.start == integer("start"),
    )
)
DROP_RUNNER = Query(delete(runner_samples).where(runner_samples.c.runner_id == string("runner_id")))
AT_ONCE = 1000


def add(conn: Connection, buckets: Sequence[Bucket]) -> None:
    # In one order everywhere, so that no two wait for each other.
    conn.many(ADD, [bucket._asdict() for bucket in sorted(buckets)])


def read(conn: Connection, runner_id: str, parts: Sequence[tuple[int, int, int]]) -> list[Bucket]:
    return [
        Bucket._make(row)
        for width, since, until in parts
        for row in conn.all(READ, {"runner_id": runner_id, "width": width, "since": since, "until": until})
    ]


def expire(conn: Connection, width: int, before: int) -> int:
    rows = conn.all(OLD, {"width": width, "before": before, "limit": AT_ONCE})
    conn.many(DROP, [dict(zip(("runner_id", "width", "start"), row, strict=True)) for row in rows])
    if rows:
        conn.reclaim()
    return len(rows)
