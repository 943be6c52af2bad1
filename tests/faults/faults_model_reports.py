"""What comes of reports: ends, and with them confirmations and starts; answers that are lost, late or never heard."""

from __future__ import annotations

from faults_model_machine import SLOTS, Execution, Machine
from faults_model_talk import MACHINE, Talk
from hypothesis import strategies as some
from hypothesis.stateful import precondition, rule

from runner_service.domain.dispatch import Along, Phase, Report, Verdict, Want
from runner_service.domain.outcomes import Outcome, OutcomeKind


class Reports(Talk):
    """Report, confirm, start."""

    @rule(at=MACHINE, parked=some.booleans(), lost=some.booleans())
    def go_on_by_reports(self, at: int, parked: bool, lost: bool) -> None:
        """What a busy worker does: with one Sync parked, or on its way, it has jobs offered and confirmed by reports
        alone. Then that Sync is looked at."""
        machine = self.machines[at]
        self.talk(at)
        if parked:
            self.beat(machine)
        else:
            self.send(at)
        for one in list(machine.executions.values())[:1]:
            one.outcome = one.outcome or Outcome(kind=OutcomeKind.EXITED, exit_code=0)
        for _ in range(2):
            self.report(at, lost=False, claims=True, rest=True)
        if lost:
            self.report(at, lost=True, claims=True, rest=True)
        if parked:
            self.look_again(at)
        else:
            self.arrive(at)

    @rule(at=MACHINE, lost=some.booleans(), claims=some.booleans(), rest=some.booleans(), late=some.booleans())
    def report(self, at: int, lost: bool, claims: bool, rest: bool, late: bool = False) -> None:
        """Ends are reported, with the rest of the log or without, what is held is confirmed along with them, and what
        is claimed is to be started. The answer is lost, or under way until `answer_arrives`."""
        machine = self.machines[at]
        self.answer_arrives(at)  # One call is under way at a time.
        ended = [one for one in machine.executions.values() if one.outcome is not None]
        reports = [self._report_of(machine, one, rest) for one in ended]
        machine.reports += reports
        machine.calls += 1
        reported = self.do(self.store.dispatch.report(reports, along=self._along(machine, len(reports) * claims)))
        self._are_true(list(reported.orders))
        done = []
        for one, verdict in zip(ended, reported.verdicts, strict=True):
            self._is_just(one, verdict, rest)
            if verdict is not Verdict.LOG_MISSING:
                done.append(one.attempt_id)
        if lost:
            machine.heard = machine.calls
            return
        machine.answer = (machine.calls, done, list(reported.orders))
        if not late:
            self.answer_arrives(at)

    def _along(self, machine: Machine, count: int) -> Along | None:
        if machine.lease_end <= self.now:
            return None
        return Along(
            runner_id=machine.runner_id,
            session_id=machine.session_id,
            sync_number=machine.number,
            held=tuple(one for one in machine.listed if one.phase is Phase.HELD),
            want=Want(runner_id=machine.runner_id, labels={}, count=count) if count else None,
            number=machine.calls,
        )

    @rule(at=MACHINE)
    def answer_arrives(self, at: int) -> None:
        """The answer to a report, however late."""
        machine = self.machines[at]
        if machine.answer is None:
            return
        machine.heard, done, orders = machine.answer
        machine.answer = None
        for attempt_id in done:
            machine.executions.pop(attempt_id, None)
        for order in orders:
            self.obey(machine, order, machine.lease_end)

    @rule(at=MACHINE, again=some.booleans())
    def overtake_an_answer(self, at: int, again: bool) -> None:
        """A Sync is sent and answered while a report is under way whose answer has jobs started."""
        machine = self.machines[at]
        self.talk(at)
        for one in list(machine.executions.values())[:1]:
            one.outcome = one.outcome or Outcome(kind=OutcomeKind.EXITED, exit_code=0)
        self.report(at, lost=False, claims=True, rest=True, late=True)
        self.sync(at, claims=False, lost=False)
        self.hear_of(machine)
        if again:
            self.talk(at)
        self.answer_arrives(at)

    @rule(at=MACHINE)
    def give_up_a_report(self, at: int) -> None:
        """A call has not reached the server in time; it may do so later."""
        machine = self.machines[at]
        self.answer_arrives(at)
        machine.calls += 1
        machine.heard, machine.stray = machine.calls, self._along(machine, SLOTS)

    @rule(at=MACHINE)
    def stray_arrives(self, at: int) -> None:
        """Nobody hears the answer."""
        machine = self.machines[at]
        if machine.stray is not None:
            self._are_true(list(self.do(self.store.dispatch.report([], along=machine.stray)).orders))
            machine.stray = None

    def _report_of(self, machine: Machine, one: Execution, rest: bool) -> Report:
        assert one.outcome is not None
        chunk = one.chunk(one.acknowledged, one.written)
        return Report(
            runner_id=machine.runner_id,
            attempt_id=one.attempt_id,
            fence=one.fence,
            outcome=one.outcome,
            first_sequence=one.acknowledged,
            records=chunk.records if rest else 0,
            journal=chunk.journal if rest else b"",
            seal=one.seal,
        )

    def _is_just(self, one: Execution, verdict: Verdict, rest: bool) -> None:
        if verdict is Verdict.LOG_MISSING:
            status = self.do(self.store.logs.status(one.attempt_id))
            assert not rest and status.next_sequence < one.written, "nothing is missing"
        elif verdict is Verdict.ACCEPTED:
            assert self.do(self.store.logs.status(one.attempt_id)).complete
            self.promised[one.attempt_id] = one.written
            self.log_holds(one.attempt_id, records=one.written)

    @precondition(lambda self: any(machine.reports for machine in self.machines))
    @rule(data=some.data(), fence=some.sampled_from([0, 0, -1, 1]), foreign=some.booleans())
    def report_again(self, data: some.DataObject, fence: int, foreign: bool) -> None:
        """A report comes late, or with a fence or from a machine that is not its own: it changes nothing."""
        machine = data.draw(some.sampled_from([machine for machine in self.machines if machine.reports]))
        old = data.draw(some.sampled_from(machine.reports))
        wrong = bool(fence) or foreign
        report = Report(
            runner_id=self.other(machine).runner_id if foreign else old.runner_id,
            attempt_id=old.attempt_id,
            fence=old.fence + fence,
            outcome=Outcome(kind=OutcomeKind.EXITED, exit_code=9) if wrong else old.outcome,
            seal=old.seal,
        )
        if not wrong and self.is_open(old.attempt_id):
            return  # The server has not taken it yet: this is its first time.
        before = self.all_jobs()
        reported = self.do(self.store.dispatch.report([report]))
        if wrong or self.was_given_up(old.attempt_id, old.outcome):
            assert reported.verdicts == [Verdict.STALE]
        assert self.all_jobs() == before
