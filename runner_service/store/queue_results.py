"""What agents say about the jobs of queues: results, merged member by member, and the word that moves a job on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from runner_service.domain.errors import JobNotFound
from runner_service.domain.jobs import JobState
from runner_service.domain.json_text import parse
from runner_service.domain.outcomes import Outcome, OutcomeKind
from runner_service.domain.queues import CANCELLED, ENDING_WORDS, PHASES, QueueJob, outcome_of
from runner_service.ports.store import Mark
from runner_service.store import answers, queues
from runner_service.store.ledger import Ledger
from runner_service.store.reports import end
from runner_service.store.schema import lab_records, lab_results
from runner_service.store.statements import Connection, Query, integer, string

# SQLite took ON CONFLICT over from PostgreSQL: the construct compiles for both.
_SET = insert(lab_results)
SET_RESULT = Query(_SET.on_conflict_do_update(index_elements=["job_id", "name"], set_={"value": _SET.excluded.value}))
RESULTS = Query(select(lab_results.c.name, lab_results.c.value).where(lab_results.c.job_id == string("job_id")))
_TOUCH = insert(lab_records)
TOUCH = Query(
    _TOUCH.on_conflict_do_update(
        index_elements=["job_id"],
        set_={"touched_at": _TOUCH.excluded.touched_at},
        # Once a minute is often enough for something that is kept for days.
        where=lab_records.c.touched_at < _TOUCH.excluded.touched_at - integer("precision"),
    )
)
_PRECISION_US = 60_000_000


def touch(conn: Connection, job_id: str) -> None:
    """Notes that something is kept for an id, and since when nothing came."""
    conn.run(TOUCH, {"job_id": job_id, "touched_at": conn.now(), "precision": _PRECISION_US})


def results(conn: Connection, job_id: str) -> Mapping[str, str]:
    return dict(conn.all(RESULTS, {"job_id": job_id}))  # type: ignore[arg-type]


def post_result(
    conn: Connection, job_id: str, members: Mapping[str, str], word: str | None, mark: Mark | None
) -> QueueJob | None:
    known = answers.known(conn, mark) is not None
    if not known:
        answers.note(conn, mark)
        conn.serialize(queues.lock_of(job_id))
        touch(conn, job_id)
        conn.many(SET_RESULT, [{"job_id": job_id, "name": name, "value": value} for name, value in members.items()])
    try:
        found = queues.get(conn, job_id, lock=True)
    except JobNotFound:
        return None
    if known or found.job.state is not JobState.RUNNING or found.lease_until is None:
        # It has ended, waits again, or is a runner's of our own: whoever posts has no hold on it.
        return found
    if word in ENDING_WORDS:
        return _end(conn, found, word)
    phase = found.phase if word is None or found.job.cancel is not None else word
    conn.run(queues.MOVE_ON, {"job_id": job_id, "phase": phase, "now": conn.now()})
    return replace(found, phase=phase)


def _end(conn: Connection, found: QueueJob, word: str) -> QueueJob:
    ledger = Ledger(conn, conn.now())
    if word == CANCELLED:
        outcome = Outcome(kind=OutcomeKind.CANCELLED, detail="agent")
    else:
        outcome = outcome_of(_statuses(results(conn, found.job.job_id)))
    held = queues.execution(conn, found.job.job_id)
    queues.close_log(held, complete=True)
    ended = end(ledger, held, outcome, reported=True)
    ledger.flush()
    phase = word if found.job.cancel is None else CANCELLED
    conn.run(queues.LET_GO, {"job_id": found.job.job_id, "phase": phase})
    return replace(found, job=ended.job, phase=phase, lease_until=None)


def _statuses(members: Mapping[str, str]) -> dict[str, int]:
    found = {phase: parse(members[f"{phase}_status"]) for phase in PHASES if f"{phase}_status" in members}
    if "exit_code" in members and not any(found.values()):
        found["test"] = parse(members["exit_code"])
    return {phase: status for phase, status in found.items() if isinstance(status, int)}
