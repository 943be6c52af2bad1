"""The ground of the model: a real store on a virtual clock, and what must hold after every step."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any, TypeVar

from faults_model_machine import POLICIES, SLOTS, TIMES, Execution, Machine, text_of
from hypothesis import strategies as some
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, initialize, invariant, multiple
from store_house import SECOND, MovingClock, make_job, make_runner, register

from runner_service.domain.dispatch import self_stop_seconds
from runner_service.domain.errors import AttemptNotFound
from runner_service.domain.jobs import MOVES, AttemptState, Job, JobState
from runner_service.domain.logs import decode
from runner_service.domain.outcomes import Outcome
from runner_service.ports.store import JobFilter
from runner_service.store import SqlStore, open_store

T = TypeVar("T")


class Ground(RuleBasedStateMachine):
    """Two machines and some jobs."""

    loop: asyncio.AbstractEventLoop

    jobs = Bundle("jobs")

    def fresh_url(self) -> str:
        """Of an empty database. For subclasses."""
        raise NotImplementedError

    @initialize(target=jobs, policies=some.lists(some.sampled_from(POLICIES), min_size=3, max_size=6))
    def begin(self, policies: list[dict[str, Any]]) -> MultipleResults[str]:
        self.clock = MovingClock()
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.store: SqlStore = self.do(self.stack.enter_async_context(open_store(self.fresh_url(), clock=self.clock)))
        self.machines: list[Machine] = []
        for _ in range(2):
            runner = self.do(register(self.store, make_runner(slots=SLOTS)))
            self.machines.append(Machine(runner.runner_id))
        self.starts: Counter[str] = Counter()
        self.started_of: Counter[str] = Counter()
        self.known: dict[str, Job] = {}
        self.never: set[str] = set()
        """Jobs that were cancelled before anything of them can have started."""
        self.promised: Counter[str] = Counter()
        """By attempt: how many records the server has acknowledged."""
        self.renewed_at = float("-inf")
        """When a server that had started renewed all leases."""
        return multiple(*(self.create(policy, 0) for policy in policies))

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.do(self.stack.aclose())
            self.loop.close()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @property
    def now(self) -> float:
        return self.clock.now() / SECOND

    def create(self, policy: dict[str, Any], priority: int) -> str:
        job, _ = self.do(self.store.jobs.create(make_job(spec=policy, priority=priority), queue_limit=1000))
        self.known[job.job_id] = job
        return job.job_id

    def all_jobs(self) -> tuple[Job, ...]:
        return self.do(self.store.jobs.list(JobFilter(), limit=0)).jobs

    def living(self) -> Iterator[Execution]:
        for machine in self.machines:
            yield from (one for one in machine.executions.values() if one.outcome is None)

    @invariant()
    def one_execution_lives_at_most(self) -> None:
        living = Counter(one.job_id for one in self.living())
        assert all(count == 1 for count in living.values()), living

    @invariant()
    def what_is_final_stays_and_all_moves_are_legal(self) -> None:
        for job in self.all_jobs():
            before = self.known[job.job_id]
            if before.state.terminal:
                assert job == before
            elif job == before:
                continue
            if before.cancel is not None:
                assert job.cancel == before.cancel
                assert not job.state.terminal or job.state is JobState.CANCELLED
            if job.cancel is not None:
                assert job.state is JobState.RUNNING or job.state.terminal, f"cancelled, and {job.state}"
            assert job.attempts <= job.spec.max_attempts
            assert self.started_of[job.job_id] <= job.spec.max_attempts
            events = self.do(self.store.jobs.events(after=0, limit=1000, job_id=job.job_id))
            assert events[-1].state is job.state
            for one, other in pairwise(event.state for event in events):
                assert other in MOVES[one] or other is one
            self.known[job.job_id] = job

    def nothing_is_overdue(self) -> None:
        """What is to be true behind a sweep."""
        for job in self.all_jobs():
            if job.state is JobState.QUEUED:
                assert not job.queue_deadline or job.queue_deadline > self.clock.now()
            elif not job.state.terminal:
                attempt = self.do(self.store.jobs.attempt(job.attempt_id))
                if attempt.state is AttemptState.ASSIGNED:
                    assert attempt.assigned_at >= self.clock.now() - TIMES.confirm * SECOND, "it is not confirmed"
        assert all(self.now < deadline for deadline in self.deadlines().values()), "its runner is away for long"

    def deadlines(self) -> dict[str, float]:
        """By running job: when it is lost if its runner is not heard of any more."""
        found = {}
        for job in self.all_jobs():
            if job.state is JobState.RUNNING:
                (machine,) = (one for one in self.machines if one.runner_id == job.runner_id)
                lease_end = max(machine.heard_at, self.renewed_at) + TIMES.lease
                wait = 0.0 if job.cancel is not None else self_stop_seconds(job, TIMES)
                found[job.job_id] = lease_end + wait + TIMES.kill_budget
        return found

    def other(self, machine: Machine) -> Machine:
        return self.machines[self.machines[0] is machine]

    def log_holds(self, attempt_id: str, *, records: int | None = None) -> None:
        """What was acknowledged is there, as it was written, and nothing else; all ``records`` of it if given."""
        chunks = self.do(self.store.logs.read(attempt_id, sequence=0, max_bytes=1 << 30))
        found = [record for chunk in chunks for record, _ in decode(chunk.journal)]
        assert [record.sequence for record in found] == list(range(len(found)))
        assert [record.data for record in found] == [text_of(attempt_id, number) for number in range(len(found))]
        assert len(found) >= self.promised[attempt_id], "what was acknowledged is lost"
        assert records is None or len(found) == records

    def is_open(self, attempt_id: str) -> bool:
        try:
            return self.do(self.store.jobs.attempt(attempt_id)).state is not AttemptState.FINISHED
        except AttemptNotFound:
            return False

    def was_given_up(self, attempt_id: str, reported: Outcome) -> bool:
        """The server ended it without its runner, which reported this, or took it back."""
        try:
            outcome = self.do(self.store.jobs.attempt(attempt_id)).outcome
        except AttemptNotFound:
            return True
        if outcome is None or outcome.detail == reported.detail:
            return False
        return outcome.detail in ("lease_expired", "runner_forgot", "machine_rebooted")

    def kept(self, attempt_id: str) -> int:
        """How many records the server has."""
        try:
            return self.do(self.store.logs.status(attempt_id)).next_sequence
        except AttemptNotFound:
            return 0
