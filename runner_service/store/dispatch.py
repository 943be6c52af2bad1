"""Leases: the beats of workers, and what becomes of attempts whose worker stays away (DESIGN.md §5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import bindparam, case, exists, literal_column, or_, select, update

from runner_service.domain.dispatch import Action, Beat, BeatAnswer, Listed, Moved, Order, Phase, want_of
from runner_service.domain.errors import StaleSync, StaleWorker
from runner_service.domain.jobs import Attempt, AttemptState, Job, JobState, transition
from runner_service.domain.outcomes import Outcome, OutcomeKind, TimeBudget
from runner_service.domain.records import changed
from runner_service.domain.runners import Runner, RunnerState, Told, runner_transition, settled
from runner_service.store import bodies, runners, worker_credentials
from runner_service.store.claims import claim, room
from runner_service.store.ledger import Ledger
from runner_service.store.reports import EXECUTION, executions_of, give_up, locked
from runner_service.store.rows import JOB_COLUMNS, job_of
from runner_service.store.schema import attempts, jobs
from runner_service.store.schema import runners as runners_table
from runner_service.store.statements import Connection, Query, Row, among, integer, number, string, word

_ACTIVE = literal_column("attempts.state") != word("FINISHED")
# Both read attempts_active, and of the tables only what it finds.
ACTIVE = Query(
    select(
        attempts.c.attempt_id,
        attempts.c.fence,
        attempts.c.state,
        jobs.c.cancel.is_not(None),
        attempts.c.bound_to,
        attempts.c.came_with,
    )
    .select_from(attempts)
    .join(jobs, jobs.c.job_id == attempts.c.job_id)
    .where(_ACTIVE, attempts.c.runner_id == string("runner_id"))
)
ARRIVED = Query(update(attempts).values(came_with=number(0)).where(among(attempts.c.attempt_id, "attempt_ids")))
# Sweeps skip what somebody is working on: it is not abandoned, and they come again.
UNCONFIRMED = Query(
    EXECUTION.where(
        _ACTIVE, attempts.c.state == word("ASSIGNED"), attempts.c.assigned_at < integer("before")
    ).with_for_update(of=[jobs, attempts], skip_locked=True)
)
ABANDONED = Query(
    EXECUTION.join(runners_table, runners_table.c.runner_id == attempts.c.runner_id)
    .where(
        _ACTIVE,
        attempts.c.state == word("RUNNING"),
        runners_table.c.lease_until
        + integer("kill_budget_us")
        + case((jobs.c.cancel.is_not(None), number(0)), else_=jobs.c.loss_wait_us)
        <= integer("now"),
    )
    .with_for_update(of=[jobs, attempts, runners_table], skip_locked=True)
)
# Reads jobs_queue_deadline, which holds nothing but queued jobs that do not wait for ever.
OVERDUE = Query(
    select(*JOB_COLUMNS)
    .where(
        literal_column("state") == word("QUEUED"),
        jobs.c.queue_deadline.is_not(None),
        jobs.c.queue_deadline <= integer("now"),
    )
    .with_for_update(skip_locked=True)
)
# Who was never heard has no lease; who was missed while the server was there has none either, but for what it holds.
RENEW = Query(
    update(runners_table)
    .values(lease_until=integer("lease_until"))
    .where(
        runners_table.c.lease_until > number(0),
        runners_table.c.lease_until < bindparam("floor", type_=runners_table.c.lease_until.type),
        or_(
            runners_table.c.state != word("ERROR"),
            exists().where(_ACTIVE, attempts.c.runner_id == runners_table.c.runner_id),
        ),
    )
)
FORGOTTEN = Outcome(kind=OutcomeKind.LOST, detail="runner_forgot")
REBOOTED = Outcome(kind=OutcomeKind.LOST, detail="machine_rebooted")
OUTWAITED = Outcome(kind=OutcomeKind.TIMED_OUT, detail=TimeBudget.QUEUE)
EXPIRED = Outcome(kind=OutcomeKind.LOST, detail="lease_expired")


def beat(conn: Connection, said: Beat) -> BeatAnswer:
    runner = runners.get(conn, said.runner_id, lock=True)
    if said.session_id < runner.session_id:
        raise StaleWorker(runner_id=said.runner_id)
    new_session = said.session_id != runner.session_id
    taken = 0 if new_session else runners.sync_of(conn, said.runner_id)[0]
    if said.sync_number < taken:
        raise StaleSync
    # Once is enough: what the list did not show then and is RUNNING now was confirmed with a report since.
    judges = new_session or said.sync_number > taken
    now = conn.now()
    same_spool = bool(said.spool_id) and (said.boot_id, said.spool_id) == (runner.boot_id, runner.spool_id)
    # What a machine wrote down last may not have reached its disk when its power failed.
    rebooted = bool(runner.boot_id and said.boot_id) and said.boot_id != runner.boot_id
    heard = replace(
        runner,
        session_id=said.session_id,
        boot_id=said.boot_id,
        # One that changes within a session vouches for nothing of before.
        spool_id=said.spool_id if new_session or same_spool else "",
        version=said.version,
        labels=said.labels,
        slots=said.slots,
        last_seen_at=now,
        lease_until=now + round(said.lease_seconds * 1e6),
        load=replace(said.load, at=now) if said.load is not None else runner.load,
    )
    runners.save_heard(conn, heard, sync_number=said.sync_number, paused=said.paused)
    takes_work = bool(said.slots) and runner.state in (RunnerState.ACTIVE, RunnerState.STARTING, RunnerState.ERROR)
    ledger = Ledger(conn, now)
    listed = {one.attempt_id: one for one in said.listed}
    rows = conn.all(ACTIVE, {"runner_id": said.runner_id})
    came = {row[0]: row[5] for row in rows if row[5]}
    if arrived := came.keys() & listed.keys():
        conn.run(ARRIVED, {"attempt_ids": conn.array(arrived)})
    # What an answer to a report brought, and may still be under way, is for a later list to show.
    judged = {row[0]: judges and (new_session or row[5] <= said.reports_heard) for row in rows}
    quiet = {row[0]: row[4] for row in rows if said.changes_only and _is_quiet(row, listed.get(row[0]), judged[row[0]])}
    for attempt_id in quiet:
        listed.pop(attempt_id, None)
    active = Counter(bound_to or said.runner_id for bound_to in quiet.values())
    orders, moved = [], []
    for execution in executions_of(conn, locked(conn, [row[0] for row in rows if row[0] not in quiet])):
        job, attempt = execution.job, execution.attempt
        assigned = attempt.state is AttemptState.ASSIGNED
        own = job.bound_to in ("", said.runner_id)
        one = listed.get(attempt.attempt_id)
        if attempt.state is AttemptState.FINISHED:
            pass  # by somebody else, just now
        elif one is not None and one.fence == attempt.fence:
            del listed[attempt.attempt_id]
            if assigned:
                job = confirm(ledger, job, attempt)
                moved.append(Moved(job, attempt.attempt_id))
            active[job.bound_to or said.runner_id] += 1
            orders.append(order_of(job, attempt))
        elif one is None and not (assigned or judged[attempt.attempt_id]):
            active[job.bound_to or said.runner_id] += 1
            if job.cancel is not None:
                orders.append(order_of(job, attempt))
        elif assigned and (takes_work if own else said.slots):
            active[job.bound_to or said.runner_id] += 1
            orders.append(offer_of(job, attempt))
        else:
            if assigned:
                job = release(ledger, job, "drained")
            elif (same_spool if new_session else attempt.attempt_id in came) and job.cancel is None:
                job = _take_back(ledger, job)
            else:
                job = give_up(conn, ledger, execution, REBOOTED if rebooted else FORGOTTEN).job
            moved.append(Moved(job, attempt.attempt_id))
    ledger.flush()
    orders += [Order(action=Action.FORGET, attempt_id=one.attempt_id, fence=one.fence) for one in listed.values()]
    after = _arrived(heard, said, active[said.runner_id], now)
    if after != heard:
        runners.save_told(conn, heard, after, now, runner.told.reason)
    if said.claims and said.slots and _has_news(said, orders):
        # By the store's count, in which what has ended keeps its slot until it is reported: a report under way could
        # give it away too.
        count = room(conn, said.runner_id)
        (given,) = claim(conn, [want_of(after, said.labels, count)])
        orders += [offer_of(one.job, one.attempt) for one in given]
        moved += [Moved(one.job, one.attempt.attempt_id) for one in given]
        active.update(one.job.bound_to or said.runner_id for one in given)
    return BeatAnswer(after, orders, moved, active)


def _arrived(runner: Runner, said: Beat, active: int, now: int) -> Runner:
    """The runner with what its being heard of means for its state. One that was hosted is hosted no more."""
    if runner.hosted:
        runner = replace(runner, hosted=False)
    to = settled(runner, active=active, paused=said.paused, session_id=said.session_id, now=now)
    if to is None:
        return runner
    return runner_transition(runner, to, at=now, told=Told(paused=runner.told.paused, check=runner.told.check))


def _has_news(said: Beat, orders: Sequence[Order]) -> bool:
    phases = {one.attempt_id: one.phase for one in said.listed}
    return any(order.news_at(phases.get(order.attempt_id)) for order in orders)


def _is_quiet(row: Row, one: Listed | None, judges: bool) -> bool:
    """Nothing is to be said of an active attempt: it runs, or is being ended as it should be."""
    _, fence, state, cancelled, *_ = row
    if state != AttemptState.RUNNING.value or (one is not None and one.fence != fence):
        return False
    if one is None:
        return not (judges or cancelled)
    return one.phase in (Phase.ENDING, Phase.ENDED) if cancelled else one.phase is not Phase.HELD


def offer_of(job: Job, attempt: Attempt) -> Order:
    return Order(action=Action.OFFER, attempt_id=attempt.attempt_id, fence=attempt.fence, job=job)


def start_of(job: Job, attempt: Attempt) -> Order:
    return Order(action=Action.START, attempt_id=attempt.attempt_id, fence=attempt.fence, job=job)


def order_of(job: Job, attempt: Attempt) -> Order:
    """What is wanted of an attempt that is confirmed."""
    action = Action.RUN if job.cancel is None else Action.CANCEL
    return Order(action=action, attempt_id=attempt.attempt_id, fence=attempt.fence, job=job, cancel=job.cancel)


def confirm(ledger: Ledger, job: Job, attempt: Attempt) -> Job:
    """ASSIGNED → RUNNING, of a job and its attempt. The caller flushes the ledger."""
    ledger.save_attempt(changed(attempt, state=AttemptState.RUNNING, started_at=ledger.now))
    return ledger.runs(job, attempt.runner_id)


def release_unconfirmed(conn: Connection, older_than_seconds: float) -> list[str]:
    now = conn.now()
    ledger = Ledger(conn, now)
    released = []
    rows = conn.all(UNCONFIRMED, {"before": now - round(older_than_seconds * 1e6)})
    for execution in executions_of(conn, rows):
        release(ledger, execution.job, "unconfirmed")
        released.append(execution.job.job_id)
    ledger.flush()
    return released


def _take_back(ledger: Ledger, job: Job) -> Job:
    """Undoes the confirmation of an attempt that was never started: neither it nor its start has happened."""
    attempts = job.attempts - 1
    before = replace(job, attempts=attempts, started_at=job.started_at if attempts else None)
    return release(ledger, before, "never_started")


def release(ledger: Ledger, job: Job, why: str) -> Job:
    attempt_id, runner_id = ledger.drop_attempt(job)
    queued = transition(job, JobState.QUEUED, at=ledger.now, attempt_id=attempt_id, runner_id=runner_id)
    return ledger.moved(job, queued, "requeued", why)


def expire_leases(conn: Connection, kill_budget_seconds: float) -> list[str]:
    now = conn.now()
    ledger = Ledger(conn, now)
    moved = []
    rows = conn.all(ABANDONED, {"kill_budget_us": round(kill_budget_seconds * 1e6), "now": now})
    for execution in executions_of(conn, rows):
        give_up(conn, ledger, execution, EXPIRED)
        moved.append(execution.job.job_id)
    ledger.flush()
    return moved


def expire_queued(conn: Connection) -> list[str]:
    now = conn.now()
    ledger = Ledger(conn, now)
    moved = []
    rows = conn.all(OVERDUE, {"now": now})
    found = bodies.load(conn, [row[0] for row in rows])
    for row in rows:
        job = job_of(row, found[row[0]])
        ended = transition(job, JobState.TIMED_OUT, at=now, outcome=OUTWAITED)
        ledger.moved(job, ended, "finished", OUTWAITED.words)
        moved.append(job.job_id)
    ledger.flush()
    return moved


def renew_leases(conn: Connection, lease_seconds: float) -> None:
    now = conn.now()
    lease_until = now + round(lease_seconds * 1e6)
    worker_credentials.revive(conn, now)
    conn.run(RENEW, {"lease_until": lease_until, "floor": lease_until})
