"""Output and archives that agents post, by id, whether there is such a job or not."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, delete, func, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert

from runner_service.domain.blobs import check_age
from runner_service.domain.errors import JobNotFound, OutputTooLarge
from runner_service.domain.jobs import JobState
from runner_service.domain.logs import MAX_RECORD_BYTES, LogRecord, LogStream, encode_all
from runner_service.domain.queues import FileKind, Fragment, LabFile, OutputKind
from runner_service.ports.store.lab_records import Stored
from runner_service.store import logs, queues
from runner_service.store.journal import pieces_of
from runner_service.store.queue_results import touch
from runner_service.store.schema import lab_files, lab_output, lab_readers, lab_records, lab_results
from runner_service.store.statements import Connection, Query, among, integer, number, string

AT_ONCE = 500
"""Fragments read in one query: what is large is not read to its end for nothing."""

_OF = and_(lab_output.c.job_id == string("job_id"), lab_output.c.kind == string("kind"))
ADD = Query(insert(lab_output))
ONCE = Query(
    select(lab_output.c.arrival).where(
        _OF, lab_output.c.phase == string("phase"), lab_output.c.fragment == integer("fragment")
    )
)
SUMS = Query(
    select(
        func.coalesce(func.max(lab_output.c.arrival), number(0)),
        func.coalesce(func.max(lab_output.c.fragment), number(-1)),
        func.coalesce(func.sum(lab_output.c.size), number(0)),
    ).where(_OF)
)
_FRAGMENTS = (
    select(lab_output.c.fragment, lab_output.c.phase, lab_output.c.at, lab_output.c.data)
    .where(_OF, lab_output.c.fragment >= integer("start"), lab_output.c.at >= string("since"))
    .order_by(lab_output.c.fragment, lab_output.c.arrival)
    .limit(integer("limit"))
    .offset(integer("offset"))
)
FRAGMENTS = Query(_FRAGMENTS)
FRAGMENTS_OF_PHASE = Query(_FRAGMENTS.where(lab_output.c.phase == string("phase")))
READ_UP_TO = Query(
    select(lab_readers.c.arrival).where(
        lab_readers.c.job_id == string("job_id"),
        lab_readers.c.kind == string("kind"),
        lab_readers.c.reader == string("reader"),
    )
)
UNREAD_SIZES = Query(
    select(lab_output.c.arrival, lab_output.c.size)
    .where(_OF, lab_output.c.arrival > integer("after"))
    .order_by(lab_output.c.arrival)
    .limit(number(10_000))
)
UNREAD = Query(
    select(lab_output.c.data)
    .where(_OF, lab_output.c.arrival > integer("after"), lab_output.c.arrival <= integer("last"))
    .order_by(lab_output.c.arrival)
)
_READ = upsert(lab_readers)
SAVE_READER = Query(
    _READ.on_conflict_do_update(index_elements=["job_id", "kind", "reader"], set_={"arrival": _READ.excluded.arrival})
)
_FILE = upsert(lab_files)
SAVE_FILE = Query(
    _FILE.on_conflict_do_update(
        index_elements=["job_id", "kind"],
        set_={name: _FILE.excluded[name] for name in ("blob_key", "size", "sha256", "media_type")},
    )
)
FILE = Query(
    select(lab_files.c.blob_key, lab_files.c.size, lab_files.c.sha256, lab_files.c.media_type).where(
        lab_files.c.job_id == string("job_id"), lab_files.c.kind == string("kind")
    )
)
OLD = Query(
    select(lab_records.c.job_id)
    .where(lab_records.c.touched_at < integer("before"))
    .order_by(lab_records.c.touched_at)
    .limit(integer("limit"))
)
BLOBS = Query(select(lab_files.c.blob_key).where(among(lab_files.c.job_id, "job_ids")))
DROPS = tuple(
    Query(delete(table).where(among(table.c.job_id, "job_ids")))
    for table in (lab_results, lab_output, lab_readers, lab_files, lab_records)
)


def append(conn: Connection, job_id: str, kind: OutputKind, fragment: Fragment, limit_bytes: int) -> Stored:
    conn.serialize(queues.lock_of(job_id))
    touch(conn, job_id)
    conn.run(queues.RENEW, {"job_id": job_id, "now": conn.now()})
    of = {"job_id": job_id, "kind": kind.value}
    known = {**of, "phase": fragment.phase, "fragment": fragment.number}
    if fragment.number >= 0 and conn.one(ONCE, known) is not None:
        return Stored(False, "")
    row = conn.one(SUMS, of)
    assert row is not None
    arrival, newest, total = (int(value) for value in row)
    size = len(fragment.data.encode())
    if total + size > limit_bytes:
        raise OutputTooLarge(job_id=job_id, limit=limit_bytes)
    number_of_it = fragment.number if fragment.number >= 0 else newest + 1
    values = {**known, "fragment": number_of_it, "arrival": arrival + 1, "at": fragment.at}
    conn.run(ADD, {**values, "size": size, "data": fragment.data})
    return Stored(True, _log(conn, job_id, fragment.data) if kind is OutputKind.OUTPUT else "")


def _log(conn: Connection, job_id: str, text: str) -> str:
    """Appends a text to the log of the attempt that an agent runs, where everybody else reads it."""
    try:
        found = queues.get(conn, job_id)
    except JobNotFound:
        return ""
    if found.job.state is not JobState.RUNNING or found.lease_until is None or not text:
        return ""
    attempt_id, fence, runner_id = found.job.attempt_id, found.job.fence, found.job.runner_id
    sequence = logs.status(conn, attempt_id).next_sequence
    data, time_ns = text.encode(), conn.now() * 1000
    records = [
        LogRecord(sequence + place, time_ns, LogStream.STDOUT, data[start : start + MAX_RECORD_BYTES])
        for place, start in enumerate(range(0, len(data), MAX_RECORD_BYTES))
    ]
    logs.append(conn, attempt_id, fence, pieces_of(sequence, len(records), encode_all(records)), runner_id)
    return attempt_id


def fragments(
    conn: Connection, job_id: str, kind: OutputKind, phase: str | None, start: int, since: str, max_bytes: int
) -> list[Fragment]:
    values: dict[str, Any] = {"job_id": job_id, "kind": kind.value, "start": start, "since": since, "limit": AT_ONCE}
    query = FRAGMENTS
    if phase is not None:
        query, values["phase"] = FRAGMENTS_OF_PHASE, phase
    found: list[Fragment] = []
    while True:
        rows = conn.all(query, {**values, "offset": len(found)})
        for row in rows:
            max_bytes -= len(row[3])
            if max_bytes < 0 and found:
                return found
            found.append(Fragment(number=row[0], phase=row[1], at=row[2], data=row[3]))
        if len(rows) < AT_ONCE:
            return found


def unread(conn: Connection, job_id: str, kind: OutputKind, reader: str, max_bytes: int) -> list[str]:
    conn.serialize(queues.lock_of(job_id))
    of = {"job_id": job_id, "kind": kind.value}
    after = last = read_up_to(conn, job_id, kind, reader)
    for arrival, size in conn.all(UNREAD_SIZES, {**of, "after": after}):
        if last > after and size > max_bytes:
            break
        last = arrival
        max_bytes -= size
    if last == after:
        return []
    conn.run(SAVE_READER, {**of, "reader": reader, "arrival": last})
    return [data for (data,) in conn.all(UNREAD, {**of, "after": after, "last": last})]


def read_up_to(conn: Connection, job_id: str, kind: OutputKind, reader: str) -> int:
    row = conn.one(READ_UP_TO, {"job_id": job_id, "kind": kind.value, "reader": reader})
    return int(row[0]) if row else 0


def note_read(conn: Connection, job_id: str, kind: OutputKind, reader: str, up_to: int) -> None:
    touch(conn, job_id)
    conn.run(SAVE_READER, {"job_id": job_id, "kind": kind.value, "reader": reader, "arrival": up_to})


def put_file(conn: Connection, job_id: str, kind: FileKind, stored: LabFile) -> str:
    conn.serialize(queues.lock_of(job_id))
    touch(conn, job_id)
    check_age(stored.blob_key, now=conn.now())
    before = file(conn, job_id, kind)
    values = {"blob_key": stored.blob_key, "size": stored.size, "sha256": stored.sha256}
    conn.run(SAVE_FILE, {"job_id": job_id, "kind": kind.value, "media_type": stored.media_type, **values})
    return before.blob_key if before else ""


def file(conn: Connection, job_id: str, kind: FileKind) -> LabFile | None:
    row = conn.one(FILE, {"job_id": job_id, "kind": kind.value})
    return LabFile(blob_key=row[0], size=row[1], sha256=row[2], media_type=row[3]) if row else None


def expire(conn: Connection, touched_before: int, limit: int) -> tuple[int, list[str]]:
    job_ids = [job_id for (job_id,) in conn.all(OLD, {"before": touched_before, "limit": limit})]
    if not job_ids:
        return 0, []
    values = {"job_ids": conn.array(job_ids)}
    keys = [key for (key,) in conn.all(BLOBS, values)]
    for drop in DROPS:
        conn.run(drop, values)
    conn.reclaim()
    return len(job_ids), keys
