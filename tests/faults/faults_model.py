"""The model: jobs, two machines, and all that may happen to them, in any order."""

from __future__ import annotations

import sys

import pytest
from faults_model_machine import TIMES
from faults_model_reports import Reports
from faults_model_talk import MACHINE
from hypothesis import strategies as some
from hypothesis.stateful import precondition, rule

from runner_service.domain.errors import StaleAttempt
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import JobState
from runner_service.domain.outcomes import Outcome, OutcomeKind

ROUNDS = 60
"""After so many everything has ended, when nothing goes wrong any more."""
MOST_RECORDS = 12
WAYS = (
    "what comes next", "what comes next", "some of it again", "some of it again", "after a gap", "a part",
    "from another machine", "with another fence",
)  # fmt: skip
"""How a part of a journal comes to the server."""


class World(Reports):
    """Set ``fresh_url`` in a subclass."""

    # What processes do, and what becomes of their output.

    @precondition(lambda self: any(self.living()))
    @rule(data=some.data(), code=some.integers(0, 1))
    def finish(self, data: some.DataObject, code: int) -> None:
        """A process ends by itself."""
        data.draw(some.sampled_from(list(self.living()))).outcome = Outcome(kind=OutcomeKind.EXITED, exit_code=code)

    @precondition(lambda self: any(self.living()))
    @rule(data=some.data())
    def cancel_what_runs(self, data: some.DataObject) -> None:
        self.cancel(data.draw(some.sampled_from(list(self.living()))).job_id)

    @rule(at=MACHINE, data=some.data(), way=some.sampled_from(WAYS), records=some.integers(1, 4), lost=some.booleans())
    def ship(self, at: int, data: some.DataObject, way: str, records: int, lost: bool) -> None:
        """A process writes, and a part of its journal reaches the server. The acknowledgement may be lost."""
        machine = self.machines[at]
        if not machine.executions:
            self.talk(at)
        if not machine.executions:
            return
        one = data.draw(some.sampled_from(list(machine.executions.values())))
        if one.outcome is None:
            one.written = min(one.written + records, MOST_RECORDS)
        before, is_open = self.kept(one.attempt_id), self.is_open(one.attempt_id)
        first, last = one.acknowledged, one.written
        if way == "some of it again":
            first = max(0, first - 2)
        elif way == "after a gap":
            first = before + 1
        elif way == "a part":
            last -= 1
        if first >= last:
            return
        wrong = way in ("from another machine", "with another fence")
        try:
            status = self.do(
                self.store.logs.append(
                    one.attempt_id,
                    one.fence + (way == "with another fence"),
                    one.chunk(first, last),
                    runner_id=(self.other(machine) if way == "from another machine" else machine).runner_id,
                )
            )
        except StaleAttempt:
            assert wrong or not is_open, "its attempt goes on"
            return
        assert is_open and not wrong, "its attempt is over, or has another fence or runner"
        assert status.next_sequence == (before if way == "after a gap" else max(before, last))
        self.promised[one.attempt_id] = max(self.promised[one.attempt_id], status.next_sequence)
        if not lost:
            one.acknowledged = max(one.acknowledged, status.next_sequence)
        self.log_holds(one.attempt_id)

    @rule(at=MACHINE)
    def ship_late(self, at: int) -> None:
        """A report is taken, the answer to it is lost, and then the journal comes once more."""
        machine = self.machines[at]
        for one in machine.executions.values():
            if one.outcome is None:
                one.written = min(one.written + 1, MOST_RECORDS)
                one.outcome = Outcome(kind=OutcomeKind.EXITED, exit_code=0)
        self.report(at, lost=True, claims=False, rest=True)
        for one in machine.executions.values():
            if one.written and not self.is_open(one.attempt_id):
                chunk = one.chunk(0, one.written)
                with pytest.raises(StaleAttempt):
                    self.do(self.store.logs.append(one.attempt_id, one.fence, chunk, runner_id=machine.runner_id))

    @rule(data=some.data())
    def seal(self, data: some.DataObject) -> None:
        """A seal comes, perhaps before the last of the journal: then it seals nothing."""
        ended = [(machine, one) for machine in self.machines for one in machine.executions.values() if one.outcome]
        if not ended:
            return
        machine, one = data.draw(some.sampled_from(ended))
        try:
            status = self.do(self.store.logs.seal(one.attempt_id, one.fence, one.seal, runner_id=machine.runner_id))
        except StaleAttempt:
            assert not self.is_open(one.attempt_id)
            return
        assert status.sealed is (status.next_sequence == one.written), "sealed, and a part of it is missing"
        self.log_holds(one.attempt_id)

    # What dies.

    @rule(at=MACHINE)
    def crash_worker(self, at: int) -> None:
        """Its memory is gone; what it had started lives on with the supervisor."""
        machine = self.machines[at]
        machine.begin_session()
        for one in machine.executions.values():
            one.acknowledged = 0  # The next one asks, or ships what is there already.

    @rule(at=MACHINE)
    def crash_supervisor(self, at: int) -> None:
        """Its processes die with it, and the worker is told."""
        for one in self.machines[at].executions.values():
            one.outcome = one.outcome or Outcome(kind=OutcomeKind.LOST, detail="supervisor_died")

    @rule(at=MACHINE)
    def reboot(self, at: int) -> None:
        machine = self.machines[at]
        self.crash_worker(at)
        machine.boot_id = new_id()
        for one in machine.executions.values():
            one.outcome = one.outcome or Outcome(kind=OutcomeKind.LOST, detail="machine_rebooted")

    @rule(at=MACHINE)
    def reinstall(self, at: int) -> None:
        """The machine comes back with its identity and nothing else."""
        machine = self.machines[at]
        self.crash_worker(at)
        machine.boot_id, machine.spool_id = new_id(), new_id()
        machine.executions.clear()

    @rule(at=MACHINE, cancelled=some.booleans())
    def lose_a_start(self, at: int, cancelled: bool) -> None:
        """A worker dies before it hears that it is to start what it has confirmed, and the next one comes."""
        machine = self.machines[at]
        self.strand(at)
        held = [order.job.job_id for order in machine.held.values() if order.job is not None]
        self.crash_worker(at)
        if cancelled and held:
            self.cancel(held[0])
        self.sync(at, claims=False, lost=False)

    # What time does.

    @rule(seconds=some.sampled_from([0.5, 5.0, 16.0, 31.0, 45.0, 120.0]), swept=some.booleans())
    def wait(self, seconds: float, swept: bool) -> None:
        """Processes of machines that are cut off stop themselves, the last instant of the kill budget included."""
        self.clock.advance(seconds)
        for machine in self.machines:
            for one in machine.executions.values():
                if one.outcome is None and one.stops_at + TIMES.kill_budget <= self.now:
                    one.outcome = Outcome(kind=OutcomeKind.LOST, detail="self_stop")
        if swept:
            self.sweep()

    @rule(at=MACHINE, seconds=some.sampled_from([16.0, 31.0, 36.0, 45.0, 95.0, 120.0]))
    def be_cut_off(self, at: int, seconds: float) -> None:
        """One machine is not heard of for a while, the other one is."""
        self.wait(seconds, swept=True)
        self.talk(1 - at)

    @rule()
    def sweep(self) -> None:
        self.do(self.store.dispatch.release_unconfirmed(older_than_seconds=TIMES.confirm))
        deadlines = self.deadlines()
        for job_id in self.do(self.store.dispatch.expire_leases(kill_budget_seconds=TIMES.kill_budget)):
            assert deadlines[job_id] <= self.now, "given up too soon"
        self.do(self.store.dispatch.expire_queued())
        self.nothing_is_overdue()

    @rule(seconds=some.sampled_from([0.0, 10.0, 45.0, 300.0]))
    def restart_server(self, seconds: float) -> None:
        """It was away for so long, which costs no job its runner."""
        self.wait(seconds, swept=False)
        self.do(self.store.dispatch.renew_leases(lease_seconds=TIMES.lease))
        self.renewed_at = self.now
        assert not self.do(self.store.dispatch.expire_leases(kill_budget_seconds=TIMES.kill_budget))

    # What must come of it.

    def settle(self) -> None:
        """From here on nothing goes wrong: everything ends, and a new job runs."""
        last = self.create({}, 0)
        for _ in range(ROUNDS):
            for at, machine in enumerate(self.machines):
                self.talk(at)
                for one in machine.executions.values():
                    if not self.known[one.job_id].cancel:  # Else somebody has to tell it to end.
                        one.outcome = one.outcome or Outcome(kind=OutcomeKind.EXITED, exit_code=0)
                self.report(at, lost=False, claims=True, rest=True)
                self.one_execution_lives_at_most()
            self.what_is_final_stays_and_all_moves_are_legal()
            if all(job.state.terminal for job in self.known.values()):
                break
            self.wait(5.0, swept=True)
        still = [job for job in self.known.values() if not job.state.terminal]
        assert not still, f"{len(still)} jobs never end: {still[0]}"
        assert not list(self.living()), "something lives on whose job has ended"
        assert self.known[last].state is JobState.SUCCEEDED
        for attempt_id in self.promised:
            self.log_holds(attempt_id)

    def teardown(self) -> None:
        try:
            if hasattr(self, "stack") and sys.exc_info()[0] is None:  # else it has failed already
                self.settle()
        finally:
            super().teardown()
