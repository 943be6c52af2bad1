"""Random histories on SQLite: whatever happens in whatever order, the books agree with each other."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import text
from store_house import BROKEN, DONE, MovingClock, Worker, make_job, make_runner, register, seal_of

from runner_service.domain.dispatch import Action, Listed, Report, Verdict
from runner_service.domain.errors import JobFinished, QueueFull
from runner_service.domain.jobs import MOVES, AttemptState, Job, JobState, LossPolicy
from runner_service.ports.store import JobFilter
from runner_service.store import open_store
from runner_service.store.statements import Connection, Query

BOUND = 5
BOOKED = Query(text("SELECT coalesce(sum(change), 0) FROM queue_changes"))


def _booked(conn: Connection) -> int:
    row = conn.one(BOOKED)
    assert row is not None
    return int(row[0])


class StoreMachine(RuleBasedStateMachine):
    """Two workers, a few jobs, and time."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.clock = MovingClock()
        self.runner = asyncio.Runner()
        self.opening = open_store(f"sqlite:///{Path(self.directory.name)}/runner.db", clock=self.clock)
        self.store = self.runner.run(self.opening.__aenter__())
        self.workers = [self.runner.run(self._worker()) for _ in range(2)]
        self.seen: dict[str, JobState] = {}

    async def _worker(self) -> Worker:
        worker = Worker(self.store, await register(self.store, make_runner()))
        await worker.beat()
        return worker

    def teardown(self) -> None:
        self.runner.run(self.opening.__aexit__(None, None, None))
        self.runner.close()
        self.directory.cleanup()

    async def booked(self) -> int:
        return await self.store.engine.read(_booked)

    def jobs(self) -> list[Job]:
        return list(self.runner.run(self.store.jobs.list(JobFilter(), limit=0)).jobs)

    @rule(policy=st.sampled_from(LossPolicy), attempts=st.integers(1, 3), priority=st.integers(0, 2))
    def create(self, policy: LossPolicy, attempts: int, priority: int) -> None:
        spec = {"loss_policy": policy, "loss_wait_seconds": 20.0, "max_attempts": attempts, "idempotent": True}
        queued = sum(job.state is JobState.QUEUED for job in self.jobs())
        try:
            self.runner.run(self.store.jobs.create(make_job(spec=spec, priority=priority), queue_limit=BOUND))
            assert queued < BOUND
        except QueueFull:
            assert queued >= BOUND

    @precondition(lambda self: self.seen)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.jobs()))
        try:
            after = self.runner.run(self.store.jobs.cancel(job.job_id, by="", reason=""))
            assert not job.state.terminal
            assert after.cancel is not None
        except JobFinished:
            assert job.state.terminal

    @rule(index=st.integers(0, 1), count=st.integers(1, 3))
    def claim(self, index: int, count: int) -> None:
        queued = sum(job.state is JobState.QUEUED for job in self.jobs())
        assert len(self.runner.run(self.workers[index].claim(count))) == min(count, queued)

    @rule(index=st.integers(0, 1), forget=st.booleans())
    def beat(self, index: int, forget: bool) -> None:
        worker = self.workers[index]
        if forget:
            worker.listed = {}
        before = {Listed(attempt_id=name, fence=fence) for name, fence in worker.listed.items()}
        for order in self.runner.run(worker.beat()).values():
            listed = Listed(attempt_id=order.attempt_id, fence=order.fence) in before
            assert listed == (order.action is not Action.OFFER)
            if order.action is not Action.FORGET:
                assert order.job is not None
                assert order.job.fence == order.fence
                assert (order.cancel is not None) == (order.action is Action.CANCEL)

    @rule(index=st.integers(0, 1), good=st.booleans(), stale=st.booleans())
    def report(self, index: int, good: bool, stale: bool) -> None:
        worker = self.workers[index]
        for attempt_id, fence in list(worker.listed.items())[:1]:
            report = Report(
                runner_id=worker.runner_id,
                attempt_id=attempt_id,
                fence=fence + stale,
                outcome=DONE if good else BROKEN,
                seal=seal_of(),
            )
            first, again = (self.runner.run(self.store.dispatch.report([report])).verdicts[0] for _ in range(2))
            assert first is again
            assert first is not Verdict.ACCEPTED or not stale
            if first is Verdict.ACCEPTED:
                del worker.listed[attempt_id]

    @rule(seconds=st.sampled_from([1, 16, 45, 70]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)
        self.runner.run(self.store.dispatch.release_unconfirmed(older_than_seconds=15))
        self.runner.run(self.store.dispatch.expire_leases(kill_budget_seconds=10))

    @invariant()
    def states_move_by_the_table(self) -> None:
        for job in self.jobs():
            before = self.seen.get(job.job_id, job.state)
            assert job.state is before or not before.terminal
            self.seen[job.job_id] = job.state
        # Every step that was recorded is one of the table's moves.
        steps: dict[str, JobState] = {}
        events = self.runner.run(self.store.jobs.events(after=0, limit=10_000))
        for event in events:
            if event.job_id in steps and event.kind != "cancel_requested":
                assert event.state in MOVES[steps[event.job_id]]
            steps[event.job_id] = event.state
        assert steps == self.seen

    @invariant()
    def the_books_agree(self) -> None:
        jobs = self.jobs()
        assert self.runner.run(self.booked()) == sum(job.state is JobState.QUEUED for job in jobs)
        for job in jobs:
            attempts = self.runner.run(self.store.jobs.attempts(job.job_id))
            active = [one for one in attempts if one.state is not AttemptState.FINISHED]
            assert len(active) == (job.state in (JobState.ASSIGNED, JobState.RUNNING))
            assert (attempts[-1].attempt_id if attempts else "") == job.attempt_id
            assert [one.number for one in attempts] == list(range(1, len(attempts) + 1))
            assert job.attempts == sum(one.state is not AttemptState.ASSIGNED for one in attempts)
            assert job.attempts <= job.spec.max_attempts
            assert job.state.terminal == (job.finished_at is not None) == (job.outcome is not None)
            if job.cancel is not None:
                assert job.state in (JobState.RUNNING, JobState.CANCELLED)


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
