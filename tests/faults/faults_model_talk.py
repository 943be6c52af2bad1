"""What clients do, and what machines and the server say to each other: lost, late, or said twice."""

from __future__ import annotations

from typing import Any

import pytest
from faults_model_ground import Ground
from faults_model_machine import POLICIES, SLOTS, TIMES, Execution, Machine
from hypothesis import strategies as some
from hypothesis.stateful import precondition, rule

from runner_service.domain.dispatch import Action, Along, Beat, Order, Phase, Want, self_stop_seconds
from runner_service.domain.errors import JobFinished, StaleSync, StaleWorker
from runner_service.domain.jobs import JobState
from runner_service.domain.outcomes import Outcome, OutcomeKind

MACHINE = some.integers(0, 1)


class Talk(Ground):
    """Claim, confirm, cancel, report."""

    @rule(target=Ground.jobs, policy=some.sampled_from(POLICIES), priority=some.integers(0, 2))
    def add(self, policy: dict[str, Any], priority: int) -> str:
        return self.create(policy, priority)

    @rule(job_id=Ground.jobs)
    def cancel(self, job_id: str) -> None:
        before = self.do(self.store.jobs.get(job_id))
        try:
            job = self.do(self.store.jobs.cancel(job_id, by="user", reason=""))
        except JobFinished:
            assert before.state.terminal
            return
        assert job.cancel is not None
        if before.state in (JobState.QUEUED, JobState.ASSIGNED):
            assert job.state is JobState.CANCELLED
            self.never.add(job_id)

    def said(self, machine: Machine, claims: bool) -> Beat:
        machine.number += 1
        return Beat(
            runner_id=machine.runner_id,
            session_id=machine.session_id,
            sync_number=machine.number,
            boot_id=machine.boot_id,
            spool_id=machine.spool_id,
            slots=SLOTS,
            listed=machine.listed,
            lease_seconds=TIMES.lease,
            changes_only=True,
            claims=claims,
            reports_heard=machine.heard,
        )

    def beat(self, machine: Machine, *, claims: bool = False) -> None:
        machine.underway = None
        machine.late = (self.now, self.heard(machine, self.said(machine, claims)))

    def heard(self, machine: Machine, beat: Beat) -> list[Order]:
        """The server takes a Sync; its orders are what the facts of that moment say, and it gives up nothing that the
        machine has."""
        open_before = [one for one in machine.executions.values() if self.is_open(one.attempt_id)]
        orders = list(self.do(self.store.dispatch.beat(beat)).orders)
        machine.heard_at = self.now
        machine.beats.append(beat)
        assert all(self.is_open(one.attempt_id) for one in open_before), "given up, and the machine has it"
        self._are_true(orders)
        return orders

    def _are_true(self, orders: list[Order]) -> None:
        for order in orders:
            if order.action in (Action.RUN, Action.START):
                assert order.job is not None
                assert self.do(self.store.jobs.get(order.job.job_id)).cancel is None, "what was cancelled is to run"
            elif order.action is Action.OFFER:
                assert order.job is not None
                assert order.job.not_before <= self.clock.now(), "it was to wait before it is tried again"

    @rule(at=MACHINE, claims=some.booleans(), lost=some.booleans())
    def sync(self, at: int, claims: bool, lost: bool) -> None:
        """A Sync reaches the server. Its reply is lost, or under way until `hear`."""
        machine = self.machines[at]
        self.beat(machine, claims=claims)
        assert machine.late is not None
        room = SLOTS - len(machine.listed) - sum(order.action is Action.OFFER for order in machine.late[1])
        if claims and room > 0:
            given = self.do(self.store.dispatch.claim([Want(runner_id=machine.runner_id, labels={}, count=room)]))
            offers = [
                Order(action=Action.OFFER, attempt_id=one.attempt.attempt_id, fence=one.attempt.fence, job=one.job)
                for one in given
            ]
            self._are_true(offers)
            machine.late[1].extend(offers)
        if lost:
            machine.late = None

    @rule(at=MACHINE)
    def talk(self, at: int) -> None:
        """A worker and the server understand each other until there is nothing new."""
        for _ in range(3):
            self.sync(at, claims=True, lost=False)
            self.hear_of(self.machines[at])

    @rule(at=MACHINE)
    def strand(self, at: int) -> None:
        """What it was offered is ordered to run, and the order is under way for a long time."""
        self.sync(at, claims=True, lost=False)
        self.hear_of(self.machines[at])
        self.beat(self.machines[at])

    @precondition(lambda self: any(machine.late for machine in self.machines))
    @rule(data=some.data())
    def hear(self, data: some.DataObject) -> None:
        """A reply arrives, however late."""
        self.hear_of(data.draw(some.sampled_from([machine for machine in self.machines if machine.late])))

    def hear_of(self, machine: Machine) -> None:
        assert machine.late is not None
        sent, orders = machine.late
        machine.late = None
        lease_end = machine.lease_end = sent + TIMES.lease
        for execution in machine.executions.values():
            execution.stops_at = lease_end + execution.self_stop
        for order in orders:
            self.obey(machine, order, lease_end)

    def obey(self, machine: Machine, order: Order, lease_end: float) -> None:
        execution = machine.executions.get(order.attempt_id)
        if order.action is Action.OFFER:
            if execution is None:
                machine.held[order.attempt_id] = order
        elif order.action in (Action.RUN, Action.START):
            assert order.job is not None
            self_stop = self_stop_seconds(order.job, TIMES)
            # A reply that took longer starts nothing: the server may have counted on that.
            wanted = order.action is Action.START or order.attempt_id in machine.held
            if wanted and self.now < lease_end + self_stop:
                machine.held.pop(order.attempt_id, None)
                self._start(machine, order, self_stop)
                machine.executions[order.attempt_id].stops_at = lease_end + self_stop
        elif order.action is Action.CANCEL:
            if machine.held.pop(order.attempt_id, None) is not None:
                assert order.job is not None
                execution = Execution(order.job.job_id, order.attempt_id, order.fence, 0.0)
                machine.executions[order.attempt_id] = execution
            if execution is not None and execution.outcome is None:
                execution.outcome = Outcome(kind=OutcomeKind.CANCELLED, detail="user")
        else:
            machine.held.pop(order.attempt_id, None)
            machine.executions.pop(order.attempt_id, None)

    def _start(self, machine: Machine, order: Order, self_stop: float) -> None:
        assert order.job is not None
        job_id = order.job.job_id
        self.starts[order.attempt_id] += 1
        self.started_of[job_id] += 1
        assert self.starts[order.attempt_id] == 1, "an attempt started twice"
        assert job_id not in self.never, "it was cancelled before it could start"
        machine.executions[order.attempt_id] = Execution(job_id, order.attempt_id, order.fence, self_stop)

    @rule(at=MACHINE, data=some.data())
    def say_again(self, at: int, data: some.DataObject) -> None:
        """An old Sync arrives once more, perhaps of a worker that is not there any more: it must change nothing."""
        machine = self.machines[at]
        earlier = [one for one in machine.beats if one is not machine.beats[-1]]
        if not earlier:
            return
        beat = data.draw(some.sampled_from(earlier))
        before = self.all_jobs()
        with pytest.raises((StaleSync, StaleWorker)):
            self.do(self.store.dispatch.beat(beat))
        assert self.all_jobs() == before

    @rule(at=MACHINE)
    def twin(self, at: int) -> None:
        """Two workers with one identity: the one that began first is refused, whatever it says."""
        machine = self.machines[at]
        if not machine.beats:
            return
        older, before = machine.session_id, self.all_jobs()
        machine.begin_session()
        self.beat(machine)
        beat = machine.beats[-1]
        after = self.all_jobs()
        with pytest.raises(StaleWorker):
            self.do(
                self.store.dispatch.beat(
                    Beat(runner_id=machine.runner_id, session_id=older, sync_number=10_000, slots=SLOTS)
                )
            )
        along = Along(
            runner_id=machine.runner_id,
            session_id=older,
            sync_number=10_000,
            held=tuple(one for one in beat.listed if one.phase is Phase.HELD),
            want=Want(runner_id=machine.runner_id, labels={}, count=SLOTS),
        )
        assert self.do(self.store.dispatch.report([], along=along)).orders == []
        assert self.all_jobs() == after
        assert len(before) == len(after)

    @precondition(lambda self: any(not machine.late and not machine.underway for machine in self.machines))
    @rule(at=MACHINE)
    def send(self, at: int) -> None:
        """A Sync is on its way, and takes its time."""
        machine = self.machines[at]
        if machine.late is None and machine.underway is None:
            machine.underway, machine.sent_at = self.said(machine, claims=False), self.now

    @rule(at=MACHINE)
    def arrive(self, at: int) -> None:
        """It reaches the server, and the reply is under way."""
        machine = self.machines[at]
        if machine.underway is not None:
            machine.late = (machine.sent_at, self.heard(machine, machine.underway))
            machine.underway = None

    @rule(at=MACHINE)
    def look_again(self, at: int) -> None:
        """A Sync that is parked looks at the store once more; its reply has not been sent."""
        machine = self.machines[at]
        if machine.late is not None:
            machine.late = (self.now, self.heard(machine, machine.beats[-1]))
