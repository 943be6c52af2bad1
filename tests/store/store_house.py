"""What the tests of the store build their cases from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from runner_service.domain.dispatch import Action, Along, Assignment, Beat, Listed, Order, Phase, Report, Verdict, Want
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import Attempt, Job, JobKind, JobSpec, JobState, Step
from runner_service.domain.logs import LogRecord, LogSeal, LogStream, encode_all
from runner_service.domain.outcomes import Outcome, OutcomeKind
from runner_service.domain.runners import Runner, RunnerProfile, RunnerState
from runner_service.ports.store import LogChunk
from runner_service.store import SqlStore

Opener = Callable[..., AbstractAsyncContextManager[SqlStore]]
"""Opens the test's database, as often as it likes."""

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
PLENTY = 1_000_000
DONE = Outcome(kind=OutcomeKind.EXITED, exit_code=0)
BROKEN = Outcome(kind=OutcomeKind.EXITED, exit_code=3)


class MovingClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> int:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += round(seconds * SECOND)


def make_job(*, spec: Mapping[str, Any] | None = None, **fields: Any) -> Job:
    steps = (Step(argv=("echo", "hello")),)
    values: dict[str, Any] = {
        "job_id": new_id(),
        "kind": JobKind.COMMAND,
        "state": JobState.QUEUED,
        "created_at": 0,
        "spec": JobSpec(**{"steps": steps, **(spec or {})}),
    }
    return Job(**{**values, **fields})


def make_runner(**fields: Any) -> Runner:
    values: dict[str, Any] = {
        "runner_id": new_id(),
        "name": "runner",
        "state": RunnerState.ACTIVE,
        "registered_at": 0,
    }
    return Runner(**{**values, **fields})


async def register(store: SqlStore, runner: Runner, profile: RunnerProfile | None = None) -> Runner:
    """A runner whose worker needs no credential; without ``profile`` with an empty one."""
    profile = profile or RunnerProfile(runner_id=runner.runner_id)
    registered, _ = await store.runners.register_once(runner, profile, digest=b"", life_seconds=0, mark=None, note="")
    return registered


def records(*texts: bytes, first: int = 0, stream: LogStream = LogStream.STDOUT) -> list[LogRecord]:
    return [LogRecord(first + number, 1_000 + first + number, stream, text) for number, text in enumerate(texts)]


def chunk(*texts: bytes, first: int = 0, stream: LogStream = LogStream.STDOUT) -> LogChunk:
    found = records(*texts, first=first, stream=stream)
    return LogChunk(first_sequence=first, records=len(found), journal=encode_all(found))


def seal_of(*texts: bytes) -> LogSeal:
    data = b"".join(texts)
    return LogSeal(len(texts), len(data), 0, hashlib.sha256(data).digest())


class Worker:
    """A worker as the store sees it: it lists what it was offered, and starts what it is told to run."""

    def __init__(self, store: SqlStore, runner: Runner, *, lease_seconds: float = 30.0) -> None:
        self.store = store
        self.runner_id = runner.runner_id
        self.session_id = new_id()
        self.labels = runner.labels
        self.lease_seconds = lease_seconds
        self.listed: dict[str, int] = {}
        self.number = 0

    async def claim(self, count: int = 1) -> Sequence[Assignment]:
        return await self.store.dispatch.claim([Want(runner_id=self.runner_id, labels=self.labels, count=count)])

    def said(self) -> Beat:
        self.number += 1
        return Beat(
            runner_id=self.runner_id,
            session_id=self.session_id,
            sync_number=self.number,
            labels=self.labels,
            listed=tuple(Listed(attempt_id=attempt_id, fence=fence) for attempt_id, fence in self.listed.items()),
            lease_seconds=self.lease_seconds,
        )

    async def beat(self) -> dict[str, Order]:
        _, orders, *_ = await self.store.dispatch.beat(self.said())
        for order in orders:
            if order.action is Action.FORGET:
                self.listed.pop(order.attempt_id, None)
            else:
                self.listed[order.attempt_id] = order.fence
        return {order.attempt_id: order for order in orders}

    def along(self, *held: Attempt, count: int = 0, number: int = 0) -> Along:
        """What goes along with reports that are sent now."""
        return Along(
            runner_id=self.runner_id,
            session_id=self.session_id,
            sync_number=self.number,
            held=tuple(Listed(attempt_id=one.attempt_id, fence=one.fence, phase=Phase.HELD) for one in held),
            want=Want(runner_id=self.runner_id, labels=self.labels, count=count),
            number=number,
        )

    async def report(self, attempt: Attempt, outcome: Outcome = DONE, **fields: Any) -> Verdict:
        fields.setdefault("seal", seal_of())
        report = Report(
            runner_id=self.runner_id, attempt_id=attempt.attempt_id, fence=attempt.fence, outcome=outcome, **fields
        )
        (verdict,) = (await self.store.dispatch.report([report])).verdicts
        if verdict is Verdict.ACCEPTED:
            self.listed.pop(attempt.attempt_id, None)
        return verdict

    async def start(self) -> Attempt:
        """Claims one job and confirms it."""
        (assignment,) = await self.claim()
        await self.beat()
        await self.beat()
        return await self.store.jobs.attempt(assignment.attempt.attempt_id)


async def make_worker(store: SqlStore, **fields: Any) -> Worker:
    runner = await register(store, make_runner(**fields))
    worker = Worker(store, runner)
    await worker.beat()
    return worker


async def create(store: SqlStore, **fields: Any) -> Job:
    job, made = await store.jobs.create(make_job(**fields), queue_limit=PLENTY)
    assert made
    return job


async def running(store: SqlStore, **fields: Any) -> tuple[Worker, Job, Attempt]:
    """A worker that runs one new job."""
    worker = await make_worker(store)
    job = await create(store, **fields)
    attempt = await worker.start()
    return worker, await store.jobs.get(job.job_id), attempt


async def kinds(store: SqlStore, job: Job) -> list[str]:
    return [event.kind for event in await store.jobs.events(after=0, limit=1000, job_id=job.job_id)]


def same(job: Job, other: Job) -> bool:
    """Equal but for what mappings are made of."""
    return replace(job, tags=dict(job.tags), annotations=dict(job.annotations)) == other
