"""Reports, and what goes along with them: a busy worker's ends, confirmations and claims in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from runner_service.domain.dispatch import Action, Along, Moved, Order, Reported
from runner_service.domain.jobs import AttemptState
from runner_service.store import runners
from runner_service.store.claims import claim, room
from runner_service.store.dispatch import confirm, offer_of, order_of, start_of
from runner_service.store.ledger import Ledger
from runner_service.store.reports import PreparedReport, executions_of, locked, report
from runner_service.store.statements import Connection


class Exchange(NamedTuple):
    """The reports of one caller, and what comes along."""

    reports: Sequence[PreparedReport]
    along: Along | None


def exchange_all(conn: Connection, calls: Sequence[Exchange]) -> list[Reported]:
    """The reports of several callers at once; one answer for each."""
    along = [call.along for call in calls if call.along is not None]
    # Before any attempt is locked, as a beat does it, so that no two wait for each other.
    current = {
        runner_id: runners.locked_session(conn, runner_id) for runner_id in sorted({one.runner_id for one in along})
    }
    ended = iter(report(conn, [one for call in calls for one in call.reports]))
    answers = []
    for call in calls:
        verdicts = [next(ended) for _ in call.reports]
        moved = [one for _, one in verdicts if one is not None]
        orders: list[Order] = []
        if call.along is not None and call.along.session_id == current[call.along.runner_id][0]:
            if call.along.sync_number <= current[call.along.runner_id][1]:
                _confirm(conn, call.along, orders, moved)
            _claim(conn, call.along, orders, moved)
        answers.append(Reported([verdict for verdict, _ in verdicts], moved, orders))
    return answers


def _confirm(conn: Connection, along: Along, orders: list[Order], moved: list[Moved]) -> None:
    found = executions_of(conn, locked(conn, [one.attempt_id for one in along.held]))
    known = {execution.attempt.attempt_id: execution for execution in found}
    ledger = Ledger(conn, conn.now())
    for one in along.held:
        execution = known.get(one.attempt_id)
        if (
            execution is None
            or execution.attempt.state is AttemptState.FINISHED
            or (execution.attempt.fence, execution.attempt.runner_id) != (one.fence, along.runner_id)
        ):
            orders.append(Order(action=Action.FORGET, attempt_id=one.attempt_id, fence=one.fence))
            continue
        job = execution.job
        if execution.attempt.state is AttemptState.ASSIGNED:
            job = confirm(ledger, job, execution.attempt)
            moved.append(Moved(job, one.attempt_id))
        orders.append(order_of(job, execution.attempt))
    ledger.flush()


def _claim(conn: Connection, along: Along, orders: list[Order], moved: list[Moved]) -> None:
    count = min(along.want.count, room(conn, along.runner_id)) if along.want is not None else 0
    if along.want is not None and count:
        (given,) = claim(conn, [replace(along.want, count=count)], came_with=along.number)
        order = start_of if along.number else offer_of
        orders += [order(one.job, one.attempt) for one in given]
        moved += [Moved(one.job, one.attempt.attempt_id) for one in given]
