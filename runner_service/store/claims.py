"""Claims: queued jobs go to the runners that want them, all wants of a server in one transaction.

The queue is an index with one run per set of required labels (its ``requirement``), each run in order of priority and
age. A claim skips from run to run, takes the heads of those that some want satisfies, and merges them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import case, func, literal_column, select, text

from runner_service.domain.dispatch import Assignment, Want
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import RUNNER_LABEL, Attempt, AttemptState, Job, JobState, transition
from runner_service.domain.runners import satisfies
from runner_service.store import bodies
from runner_service.store.ledger import Ledger
from runner_service.store.rows import JOB_COLUMNS, job_of
from runner_service.store.schema import attempts, jobs, runners
from runner_service.store.statements import Connection, Query, among, integer, number, string, word

_QUEUED = literal_column("state") == word("QUEUED")


def _requirements() -> Query:
    # A loose scan: each step seeks the next value, so the cost is one seek per requirement, not one per job.
    least = select(func.min(jobs.c.requirement).label("requirement")).where(_QUEUED)
    found = least.cte("found", recursive=True)
    following = (
        select(func.min(jobs.c.requirement))
        .where(_QUEUED, jobs.c.requirement > found.c.requirement)
        .correlate(found)
        .scalar_subquery()
    )
    found = found.union_all(select(following).where(found.c.requirement.is_not(None)))
    return Query(select(found.c.requirement).where(found.c.requirement.is_not(None)))


REQUIREMENTS = _requirements()
# Both read the head of one run of jobs_queue, and nothing of the table on SQLite.
_HEAD = (
    select(jobs.c.priority, jobs.c.created_at, jobs.c.job_id)
    .where(_QUEUED, jobs.c.requirement == integer("requirement"), jobs.c.not_before <= integer("now"))
    .order_by(jobs.c.priority.desc(), jobs.c.created_at, jobs.c.job_id)
    .limit(integer("count"))
)
HEAD = Query(_HEAD)
LOCKED_HEAD = Query(_HEAD.with_for_update(skip_locked=True))
SAMPLE = Query(select(jobs.c.job_id).where(_QUEUED, jobs.c.requirement == integer("requirement")).limit(number(1)))
CHOSEN = Query(select(*JOB_COLUMNS).where(among(jobs.c.job_id, "job_ids")))


class Candidate(NamedTuple):
    """A queued job at its place: the least comes first."""

    lowness: int
    created_at: int
    job_id: str
    requirement: int


class _Takers(NamedTuple):
    """Who may take the jobs of one requirement."""

    wants: list[int]
    room: int
    """Jobs that all of them together may take."""


# Locked, so that no other server hands out the same room at the same time: it comes again.
HOSTED = Query(
    select(case((runners.c.most_jobs > number(0), runners.c.most_jobs), else_=runners.c.slots))
    .where(runners.c.runner_id == string("runner_id"), runners.c.hosted == number(1), runners.c.state == word("ACTIVE"))
    .with_for_update(skip_locked=True)
)
# Reads attempts_bound.
ACTIVE_OF = Query(
    select(func.count())
    .select_from(attempts)
    .where(
        literal_column("attempts.bound_to") != text("''"),
        literal_column("attempts.state") != word("FINISHED"),
        attempts.c.bound_to == string("runner_id"),
    )
)


# Reads attempts_active.
ROOM = Query(
    select(
        case(
            (runners.c.slots == number(0), number(0)),
            (runners.c.most_jobs > number(0), runners.c.most_jobs),
            else_=runners.c.slots,
        )
        - select(func.count())
        .select_from(attempts)
        .where(literal_column("attempts.state") != word("FINISHED"), attempts.c.runner_id == runners.c.runner_id)
        .scalar_subquery()
    ).where(runners.c.runner_id == string("runner_id"))
)


def room(conn: Connection, runner_id: str) -> int:
    """Slots that a runner has free by the store's own count, in which every attempt holds one until it is reported."""
    row = conn.one(ROOM, {"runner_id": runner_id})
    return max(0, int(row[0])) if row else 0


class _Labels(dict[int, Mapping[str, str]]):
    """The labels that each requirement stands for, learnt from a job that has it."""


def claim_all(conn: Connection, claims: Sequence[Sequence[Want]]) -> list[list[Assignment]]:
    """The claims of several callers at once; one answer for each."""
    given = iter(claim(conn, [want for wants in claims for want in wants]))
    return [[assignment for _ in wants for assignment in next(given)] for wants in claims]


def claim(conn: Connection, wants: Sequence[Want], *, came_with: int = 0) -> list[list[Assignment]]:
    """One list per want. ``came_with``: the report whose answer has it started, so it is confirmed already."""
    given: list[list[Assignment]] = [[] for _ in wants]
    takers = _takers(conn, wants)
    if not takers:
        return given
    now = conn.now()
    choice = _chosen(conn, wants, takers, now)
    if not choice:
        return given
    found = bodies.load(conn, choice)
    ledger = Ledger(conn, now)
    queued = {row[0]: job_of(row, found[row[0]]) for row in conn.all(CHOSEN, {"job_ids": conn.array(choice)})}
    for job_id, want in choice.items():
        given[want].append(_assign(ledger, queued[job_id], wants[want].runner_id, came_with))
    ledger.flush()
    return given


def _assign(ledger: Ledger, queued: Job, runner_id: str, came_with: int) -> Assignment:
    attempt = Attempt(
        attempt_id=new_id(),
        job_id=queued.job_id,
        number=queued.attempts + 1,
        runner_id=runner_id,
        fence=queued.fence + 1,
        state=AttemptState.RUNNING if came_with else AttemptState.ASSIGNED,
        assigned_at=ledger.now,
        started_at=ledger.now if came_with else None,
    )
    job = transition(
        queued,
        JobState.ASSIGNED,
        at=ledger.now,
        attempt_id=attempt.attempt_id,
        fence=attempt.fence,
        runner_id=runner_id,
    )
    ledger.add_attempt(attempt, bound_to=queued.bound_to, came_with=came_with)
    ledger.moved(queued, job, "assigned", runner_id)
    if came_with:
        job = ledger.runs(job, runner_id)
    return Assignment(job=job, attempt=attempt)


def _takers(conn: Connection, wants: Sequence[Want]) -> dict[int, _Takers]:
    """Which wants satisfy each requirement that something in the queue has."""
    takers: dict[int, _Takers] = {}
    for (requirement,) in conn.all(REQUIREMENTS):
        required = _required(conn, requirement)
        if required is None:
            continue
        room = sum(want.count for want in wants)
        if bound_to := required.get(RUNNER_LABEL):
            fitting, room = _bound_takers(conn, wants, bound_to, required, room)
        else:
            fitting = [index for index, want in enumerate(wants) if want.count > 0 and want.takes(required)]
        if fitting and room > 0:
            takers[requirement] = _Takers(fitting, room)
    return takers


def _bound_takers(
    conn: Connection, wants: Sequence[Want], bound_to: str, required: Mapping[str, str], room: int
) -> tuple[list[int], int]:
    """Who takes jobs that are bound to a runner, and how many: its own worker as many as it wants; for one without a
    worker whoever hosts, as many as that runner's configuration leaves."""
    others = {name: value for name, value in required.items() if name != RUNNER_LABEL}
    for index, want in enumerate(wants):
        if want.runner_id == bound_to:
            return ([index], want.count) if want.count > 0 and want.takes(others) else ([], 0)
    fitting = [
        index for index, want in enumerate(wants) if want.hosts and want.count > 0 and satisfies(want.labels, others)
    ]
    if not fitting:
        return [], 0
    row = conn.one(HOSTED, {"runner_id": bound_to})
    if row is None:
        return [], 0
    active = conn.one(ACTIVE_OF, {"runner_id": bound_to})
    return fitting, min(room, int(row[0]) - (int(active[0]) if active else 0))


def _required(conn: Connection, requirement: int) -> Mapping[str, str] | None:
    if requirement == 0:
        return {}
    known: _Labels = conn.caches.setdefault(_Labels, _Labels())
    if requirement not in known:
        row = conn.one(SAMPLE, {"requirement": requirement})
        body = bodies.load(conn, [row[0]])[row[0]] if row else None
        if body is None:
            return None  # taken by another server since
        if len(known) > 10_000:
            known.clear()
        known[requirement] = body.spec.required_labels
    return known[requirement]


def _chosen(conn: Connection, wants: Sequence[Want], takers: Mapping[int, _Takers], now: int) -> dict[str, int]:
    """Job ids with the want that each goes to, in order of priority and age."""
    runs = {}
    for requirement, fitting in takers.items():
        count = min(fitting.room, sum(wants[index].count for index in fitting.wants))
        runs[requirement] = _run(conn, HEAD, requirement, now, count)
    choice = _choose(wants, takers, heapq.merge(*runs.values()))
    if conn.dialect.name != "postgresql":
        return choice
    # Other servers claim too. Lock in each run as many as were chosen from it: whoever comes second gets the ones
    # behind, nobody waits, and nobody is kept from a job that is locked and not taken.
    locked: list[tuple[Candidate, int]] = []
    for requirement, run in runs.items():
        chosen = [choice[candidate.job_id] for candidate in run if candidate.job_id in choice]
        if chosen:
            locked += zip(_run(conn, LOCKED_HEAD, requirement, now, len(chosen)), chosen, strict=False)
    return {candidate.job_id: index for candidate, index in sorted(locked)}


def _run(conn: Connection, query: Query, requirement: int, now: int, count: int) -> list[Candidate]:
    rows = conn.all(query, {"requirement": requirement, "now": now, "count": count})
    return [Candidate(-priority, created_at, job_id, requirement) for priority, created_at, job_id in rows]


def _choose(wants: Sequence[Want], takers: Mapping[int, _Takers], candidates: Iterator[Candidate]) -> dict[str, int]:
    """Gives each candidate in turn to the fitting want with most room left; returns job ids with their want."""
    room = [want.count for want in wants]
    heaps = {requirement: [(-room[index], index) for index in fitting.wants] for requirement, fitting in takers.items()}
    for heap in heaps.values():
        heapq.heapify(heap)
    choice: dict[str, int] = {}
    left = sum(room)
    for candidate in candidates:
        if left == 0:
            break
        heap = heaps[candidate.requirement]
        while heap:
            negative, index = heap[0]
            if room[index] == 0:
                heapq.heappop(heap)
            elif -negative != room[index]:
                heapq.heapreplace(heap, (-room[index], index))
            else:
                choice[candidate.job_id] = index
                room[index] -= 1
                left -= 1
                break
    return choice
