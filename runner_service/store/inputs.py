"""The input of jobs: how far it is as one row, what is not given to the processes yet as rows by place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select, update

from runner_service.domain.errors import (
    InputEnded,
    InputFull,
    InputNotTaken,
    InvalidArgument,
    JobFinished,
    StaleAttempt,
)
from runner_service.domain.ids import is_id
from runner_service.domain.inputs import (
    KEPT_PLACES,
    KNOWN_WRITERS,
    SLACK,
    WINDOW,
    InputKind,
    InputRecord,
    InputStatus,
    PlacedInput,
    cut,
    placed,
)
from runner_service.domain.jobs import AttemptState
from runner_service.store import jobs
from runner_service.store.schema import attempts, input_records, input_writers, inputs
from runner_service.store.statements import Connection, Query, integer, number, string

_STATE = select(
    inputs.c.job_id, inputs.c.next_offset, inputs.c.written_offset, inputs.c.fence, inputs.c.ended, inputs.c.kept
).where(inputs.c.job_id == string("job_id"))
STATE = Query(_STATE)
LOCKED_STATE = Query(_STATE.with_for_update())
_CHANGING = (inputs.c.next_offset, inputs.c.written_offset, inputs.c.fence, inputs.c.ended)
SAVE_STATE = Query(
    update(inputs)
    .values({column.name: bindparam(column.name, type_=column.type) for column in _CHANGING})
    .where(inputs.c.job_id == string("job_id"))
)
_OF_WRITER = (input_writers.c.job_id == string("job_id"), input_writers.c.writer_id == string("writer_id"))
WRITER = Query(select(input_writers.c.next_offset).where(*_OF_WRITER))
ADD_WRITER = Query(insert(input_writers))
SAVE_WRITER = Query(
    update(input_writers).values(next_offset=integer("next_offset"), behind=integer("behind")).where(*_OF_WRITER)
)
COUNT_WRITERS = Query(select(func.count()).where(input_writers.c.job_id == string("job_id")))
# Of those who wrote together, as in one transaction, any: they are equally old.
FORGET_WRITER = Query(
    delete(input_writers).where(
        input_writers.c.job_id == string("job_id"),
        input_writers.c.writer_id
        == select(input_writers.c.writer_id)
        .where(input_writers.c.job_id == string("job_id"))
        .order_by(input_writers.c.behind)
        .limit(number(1))
        .scalar_subquery(),
    )
)
ADD_RECORD = Query(insert(input_records))
_OF_JOB = input_records.c.job_id == string("job_id")
# Seek in the primary key. A record holds a place when it is the last that begins at or before it.
HOLDER = Query(
    select(input_records.c.offset, input_records.c.kind, input_records.c.payload)
    .where(_OF_JOB, input_records.c.offset <= integer("offset"))
    .order_by(input_records.c.offset.desc())
    .limit(number(1))
)
BEHIND = Query(
    select(input_records.c.offset, input_records.c.kind, input_records.c.payload)
    .where(_OF_JOB, input_records.c.offset > integer("offset"))
    .order_by(input_records.c.offset)
    .limit(integer("limit"))
)
_WRITTEN = (_OF_JOB, input_records.c.offset < integer("written"), input_records.c.behind <= integer("written"))
DROP_WRITTEN = Query(delete(input_records).where(*_WRITTEN))
SPEND_SIGNALS = Query(
    update(input_records)
    .values(kind=number(int(InputKind.SPENT)))
    .where(*_WRITTEN, input_records.c.kind == number(int(InputKind.SIGNAL)))
)
DROP_RECORDS = Query(delete(input_records).where(_OF_JOB))
ATTEMPT = Query(
    select(attempts.c.job_id, attempts.c.fence, attempts.c.state).where(attempts.c.attempt_id == string("attempt_id"))
)


@dataclass(slots=True)
class _State:
    job_id: str
    next_offset: int
    written_offset: int
    fence: int
    ended: int
    kept: int

    @property
    def limit(self) -> int:
        limit = self.written_offset + WINDOW
        return min(limit, KEPT_PLACES) if self.kept else limit

    def status(self, taken: int = 0, *, ahead: int = 0) -> InputStatus:
        """``ahead``: places that others than the writer gave."""
        known = self.next_offset - ahead
        return InputStatus(self.next_offset, self.written_offset, self.limit, bool(self.ended), taken, known)

    def save(self, conn: Connection) -> None:
        values = {column.name: getattr(self, column.name) for column in _CHANGING}
        conn.run(SAVE_STATE, {"job_id": self.job_id, **values})


def append(
    conn: Connection, job_id: str, records: Sequence[InputRecord], at: int | None, writer: str = ""
) -> InputStatus:
    job = jobs.get(conn, job_id)
    state = _state(conn, job_id, LOCKED_STATE)
    given = _given(conn, job_id, writer)
    # What the writer gives next lies in the job's input this much further than in its own.
    ahead = 0 if not writer else state.next_offset - (given or 0)
    start = state.next_offset if at is None else at + ahead
    if start > state.next_offset:
        raise InvalidArgument(field="offset", problem=f"the input goes on at {state.next_offset - ahead}, not at {at}")
    rows = []
    reached = start
    for one in placed(records, start):
        if one.behind <= state.next_offset:
            reached = one.behind
            continue
        if job.state.terminal:
            raise JobFinished(job_id=job_id, state=job.state)
        if state.ended:
            raise InputEnded(job_id=job_id)
        fitting = _fitting(cut(one, state.next_offset) if one.offset < state.next_offset else one, state)
        if fitting is None:
            break
        rows.append(_row(job_id, fitting))
        reached = state.next_offset = fitting.behind
        state.ended = int(fitting.record.kind is InputKind.END)
        if fitting.behind < one.behind:
            break
    if rows:
        conn.many(ADD_RECORD, rows)
        state.save(conn)
        if writer:
            _save_writer(conn, state, writer, state.next_offset - ahead, new=given is None)
    return state.status(reached - start, ahead=ahead)


def _given(conn: Connection, job_id: str, writer: str) -> int | None:
    """How much a writer has given; None for one that is not known."""
    row = conn.one(WRITER, {"job_id": job_id, "writer_id": writer}) if writer else None
    return None if row is None else int(row[0])


def _save_writer(conn: Connection, state: _State, writer: str, given: int, *, new: bool) -> None:
    values = {"job_id": state.job_id, "writer_id": writer, "next_offset": given, "behind": state.next_offset}
    if not new:
        conn.run(SAVE_WRITER, values)
        return
    counted = conn.one(COUNT_WRITERS, {"job_id": state.job_id})
    if counted is not None and counted[0] >= KNOWN_WRITERS:
        conn.run(FORGET_WRITER, {"job_id": state.job_id})
    conn.run(ADD_WRITER, values)


def _fitting(one: PlacedInput, state: _State) -> PlacedInput | None:
    """What there is room for: of data a part, of anything else all or nothing."""
    room = state.limit - one.offset
    if one.record.kind is not InputKind.DATA:
        return one if room + SLACK > 0 else None
    if room <= 0:
        if state.kept and one.offset >= KEPT_PLACES:
            raise InputFull(job_id=state.job_id, limit=KEPT_PLACES)
        return None
    return (
        one
        if room >= one.record.places
        else PlacedInput(one.offset, InputRecord(InputKind.DATA, one.record.payload[:room]))
    )


def _row(job_id: str, one: PlacedInput) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "offset": one.offset,
        "behind": one.behind,
        "kind": int(one.record.kind),
        "payload": one.record.payload,
    }


def status(conn: Connection, job_id: str, writer: str = "") -> InputStatus:
    jobs.get(conn, job_id)
    state = _state(conn, job_id, STATE)
    ahead = state.next_offset - (_given(conn, job_id, writer) or 0) if writer else 0
    return state.status(ahead=ahead)


def read(conn: Connection, attempt_id: str, fence: int, offset: int, limit: int) -> list[PlacedInput]:
    values = {"job_id": _job_of(conn, attempt_id, fence), "offset": offset, "limit": limit}
    holder = conn.one(HOLDER, values)
    rows = [*([holder] if holder is not None else []), *conn.all(BEHIND, values)]
    found = [PlacedInput(row[0], InputRecord(InputKind(row[1]), row[2])) for row in rows]
    if found and found[0].behind <= offset:
        del found[0]
    elif found and found[0].offset < offset:
        found[0] = cut(found[0], offset)
    return found


def advance(conn: Connection, attempt_id: str, fence: int, written: int) -> InputStatus:
    job_id = _job_of(conn, attempt_id, fence)
    state = _state(conn, job_id, LOCKED_STATE)
    written = min(written, state.next_offset)
    if fence == state.fence and written <= state.written_offset:
        return state.status()
    state.fence, state.written_offset = fence, written
    state.save(conn)
    conn.run(SPEND_SIGNALS if state.kept else DROP_WRITTEN, {"job_id": job_id, "written": written})
    return state.status()


def discard(conn: Connection, job_id: str) -> None:
    if jobs.get(conn, job_id).state.terminal:
        conn.run(DROP_RECORDS, {"job_id": job_id})


def _state(conn: Connection, job_id: str, query: Query) -> _State:
    row = conn.one(query, {"job_id": job_id})
    if row is None:
        raise InputNotTaken(job_id=job_id)
    return _State(*row)


def _job_of(conn: Connection, attempt_id: str, fence: int) -> str:
    row = conn.one(ATTEMPT, {"attempt_id": attempt_id}) if is_id(attempt_id) else None
    if row is None or row[1] != fence or row[2] == AttemptState.FINISHED.value:
        raise StaleAttempt(attempt_id=attempt_id, fence=fence)
    return str(row[0])
