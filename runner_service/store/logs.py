"""The journals of attempts: chunks as rows, their sum in the attempt's row, archives of what was moved away."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from sqlalchemy import and_, bindparam, delete, exists, insert, select, update

from runner_service.domain.errors import AttemptNotFound, LogSealed, StaleAttempt
from runner_service.domain.ids import is_id
from runner_service.domain.jobs import AttemptState
from runner_service.domain.logs import LogSeal, LogStatus
from runner_service.ports.store import LogArchive, LogChunk
from runner_service.store import journal, runner_feed
from runner_service.store.journal import Piece
from runner_service.store.schema import attempts, log_archives, log_chunks
from runner_service.store.statements import Connection, Query, Row, among, integer, number, string

LOG_COLUMNS = (
    attempts.c.log_next,
    attempts.c.log_stdout,
    attempts.c.log_stderr,
    attempts.c.log_bytes,
    attempts.c.log_state,
    attempts.c.log_sha256,
)
_LOG = select(
    attempts.c.attempt_id,
    *LOG_COLUMNS,
    attempts.c.fence,
    attempts.c.state,
    attempts.c.bound_to,
    attempts.c.job_id,
    attempts.c.runner_id,
).where(attempts.c.attempt_id == string("attempt_id"))
LOG = Query(_LOG)
LOCKED_LOG = Query(_LOG.with_for_update())
SAVE_LOG = Query(
    update(attempts)
    .values({column.name: bindparam(column.name, type_=column.type) for column in LOG_COLUMNS})
    .where(attempts.c.attempt_id == string("attempt_id"))
)
ADD_CHUNK = Query(insert(log_chunks))
# All of these seek in the primary key. `size` lies before the journal in the row, which is not read for it.
_OF_ATTEMPT = log_chunks.c.attempt_id == string("attempt_id")
START = Query(
    select(log_chunks.c.first_sequence)
    .where(_OF_ATTEMPT, log_chunks.c.first_sequence <= integer("sequence"))
    .order_by(log_chunks.c.first_sequence.desc())
    .limit(number(1))
)
SIZES = Query(
    select(log_chunks.c.first_sequence, log_chunks.c.records, log_chunks.c.size)
    .where(_OF_ATTEMPT, log_chunks.c.first_sequence >= integer("first"))
    .order_by(log_chunks.c.first_sequence)
    .limit(number(256))
)
CHUNKS = Query(
    select(log_chunks.c.first_sequence, log_chunks.c.records, log_chunks.c.journal)
    .where(
        _OF_ATTEMPT,
        log_chunks.c.first_sequence >= integer("first"),
        log_chunks.c.first_sequence <= integer("last"),
    )
    .order_by(log_chunks.c.first_sequence)
)
# Both walk the index attempts_archivable. Ids sort by age.
_ROWS_LEFT = and_(attempts.c.log_state > number(0), attempts.c.log_bytes >= number(262144))
_HAS_ARCHIVE = exists().where(log_archives.c.attempt_id == attempts.c.attempt_id)
_ARCHIVABLE = select(attempts.c.attempt_id).where(_ROWS_LEFT).order_by(attempts.c.attempt_id).limit(integer("limit"))
ARCHIVABLE = Query(_ARCHIVABLE.where(~_HAS_ARCHIVE))
LEFT_BEHIND = Query(_ARCHIVABLE.where(_HAS_ARCHIVE))
ADD_ARCHIVE = Query(insert(log_archives))
ARCHIVE = Query(
    select(log_archives.c.blob_key, log_archives.c.index).where(log_archives.c.attempt_id == string("attempt_id"))
)
OLDEST_CHUNKS = Query(
    select(log_chunks.c.attempt_id, log_chunks.c.first_sequence)
    .where(among(log_chunks.c.attempt_id, "attempt_ids"))
    .limit(integer("limit"))
)
DROP_CHUNK = Query(delete(log_chunks).where(_OF_ATTEMPT, log_chunks.c.first_sequence == integer("first_sequence")))
BATCH_CHUNKS = 64
"""Chunks deleted in one transaction: 16 MiB at most, so that nobody waits long behind it."""


class LogState(IntEnum):
    """How far a log has come."""

    OPEN = 0
    COMPLETE = 1
    INCOMPLETE = 2


@dataclass(slots=True)
class Log:
    """The log's part of an attempt's row, as it is changed in one transaction."""

    attempt_id: str
    next_sequence: int
    stdout_bytes: int
    stderr_bytes: int
    size: int
    state: int
    sha256: bytes | None

    def status(self) -> LogStatus:
        return LogStatus(
            attempt_id=self.attempt_id,
            next_sequence=self.next_sequence,
            stdout_bytes=self.stdout_bytes,
            stderr_bytes=self.stderr_bytes,
            sealed=self.state != LogState.OPEN,
            complete=self.state != LogState.INCOMPLETE,
        )

    def values(self) -> dict[str, Any]:
        return {
            "attempt_id": self.attempt_id,
            "log_next": self.next_sequence,
            "log_stdout": self.stdout_bytes,
            "log_stderr": self.stderr_bytes,
            "log_bytes": self.size,
            "log_state": int(self.state),
            "log_sha256": self.sha256,
        }

    def extend(self, pieces: Iterable[Piece]) -> list[dict[str, Any]]:
        """Counts what is new in ``pieces`` and returns it as rows of ``log_chunks``; nothing behind a gap is new.

        Raises:
            LogSealed: Something is new, but nothing may follow.
        """
        rows = []
        for piece in pieces:
            if piece.first_sequence + piece.records <= self.next_sequence:
                continue
            if self.state != LogState.OPEN:
                raise LogSealed(attempt_id=self.attempt_id)
            if piece.first_sequence > self.next_sequence:
                break
            if piece.first_sequence < self.next_sequence:
                piece = journal.behind(piece, self.next_sequence)
            self.next_sequence += piece.records
            self.stdout_bytes += piece.stdout_bytes
            self.stderr_bytes += piece.stderr_bytes
            self.size += len(piece.journal)
            rows.append(
                {
                    "attempt_id": self.attempt_id,
                    "first_sequence": piece.first_sequence,
                    "records": piece.records,
                    "size": len(piece.journal),
                    "journal": piece.journal,
                }
            )
        return rows

    def close(self, seal: LogSeal) -> bool:
        """Seals an open log if it is what ``seal`` says; tells whether it is sealed now."""
        if self.state == LogState.OPEN and seal[:3] == (self.next_sequence, self.stdout_bytes, self.stderr_bytes):
            self.state = LogState.COMPLETE
            self.sha256 = seal.sha256
        return self.state != LogState.OPEN

    def give_up(self) -> None:
        """Seals an open log as it is."""
        if self.state == LogState.OPEN:
            self.state = LogState.INCOMPLETE


def log_of(attempt_id: str, row: Row) -> Log:
    """A log from `LOG_COLUMNS`."""
    return Log(attempt_id, *row)


def _locked(conn: Connection, attempt_id: str, fence: int, runner_id: str) -> tuple[Log, str, str]:
    """The log, the runner that its job is bound to, and the job."""
    row = conn.one(LOCKED_LOG, {"attempt_id": attempt_id}) if is_id(attempt_id) else None
    if row is None or row[7] != fence or row[8] == AttemptState.FINISHED.value or row[11] != runner_id:
        raise StaleAttempt(attempt_id=attempt_id, fence=fence)
    return log_of(attempt_id, row[1:7]), row[9], row[10]


def append(conn: Connection, attempt_id: str, fence: int, pieces: Sequence[Piece], runner_id: str) -> LogStatus:
    log, bound_to, job_id = _locked(conn, attempt_id, fence, runner_id)
    if rows := log.extend(pieces):
        conn.many(ADD_CHUNK, rows)
        conn.run(SAVE_LOG, log.values())
        if bound_to:
            runner_feed.output(conn, bound_to, job_id, attempt_id, rows)
    return log.status()


def seal(conn: Connection, attempt_id: str, fence: int, wanted: LogSeal, runner_id: str) -> LogStatus:
    log, _, _ = _locked(conn, attempt_id, fence, runner_id)
    before = log.state
    log.close(wanted)
    if log.state != before:
        conn.run(SAVE_LOG, log.values())
    return log.status()


def _log(conn: Connection, attempt_id: str, query: Query) -> Log:
    row = conn.one(query, {"attempt_id": attempt_id}) if is_id(attempt_id) else None
    if row is None:
        raise AttemptNotFound(attempt_id=attempt_id)
    return log_of(attempt_id, row[1:7])


def status(conn: Connection, attempt_id: str) -> LogStatus:
    return _log(conn, attempt_id, LOG).status()


def read(conn: Connection, attempt_id: str, sequence: int, max_bytes: int) -> list[LogChunk]:
    if not is_id(attempt_id):
        return []
    start = conn.one(START, {"attempt_id": attempt_id, "sequence": sequence})
    first: int | None = None
    last = expected = sequence
    for position, records, size in conn.all(SIZES, {"attempt_id": attempt_id, "first": start[0] if start else 0}):
        if position + records <= sequence:
            continue
        # A hole means that the log is archived and its rows are being deleted.
        if position > expected or (first is not None and size > max_bytes):
            break
        first, last = position if first is None else first, position
        expected = position + records
        max_bytes -= size
    if first is None:
        return []
    rows = conn.all(CHUNKS, {"attempt_id": attempt_id, "first": first, "last": last})
    return [LogChunk(first_sequence=row[0], records=row[1], journal=row[2]) for row in rows]


def archivable(conn: Connection, limit: int) -> list[str]:
    return [attempt_id for (attempt_id,) in conn.all(ARCHIVABLE, {"limit": limit or 2**62})]


def left_behind(conn: Connection) -> list[str]:
    """Archived attempts whose rows were not all deleted, because the server stopped half-way."""
    return [attempt_id for (attempt_id,) in conn.all(LEFT_BEHIND, {"limit": 16})]


def archive(conn: Connection, attempt_id: str, archived: LogArchive) -> None:
    """Records where the log went. Its rows are deleted after that, by `drop_chunks`, then `forget_rows`."""
    _log(conn, attempt_id, LOCKED_LOG)
    if conn.one(ARCHIVE, {"attempt_id": attempt_id}) is None:
        conn.run(ADD_ARCHIVE, {"attempt_id": attempt_id, "blob_key": archived.blob_key, "index": archived.index})


def forget_rows(conn: Connection, attempt_id: str) -> None:
    """Records that no rows are left."""
    log = _log(conn, attempt_id, LOCKED_LOG)
    log.size = 0
    conn.run(SAVE_LOG, log.values())


def archived(conn: Connection, attempt_id: str) -> LogArchive | None:
    row = conn.one(ARCHIVE, {"attempt_id": attempt_id}) if is_id(attempt_id) else None
    return LogArchive(blob_key=row[0], index=row[1]) if row else None


def drop_chunks(conn: Connection, attempt_ids: Sequence[str]) -> bool:
    """Deletes some chunks of these attempts; tells whether there may be more."""
    rows = conn.all(OLDEST_CHUNKS, {"attempt_ids": conn.array(attempt_ids), "limit": BATCH_CHUNKS})
    conn.many(DROP_CHUNK, [{"attempt_id": attempt_id, "first_sequence": first} for attempt_id, first in rows])
    if rows:
        conn.reclaim()
    return len(rows) == BATCH_CHUNKS
