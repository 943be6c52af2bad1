"""The services put together, and a worker that speaks to them without a network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from store_house import MovingClock

from runner_service.blobs.directory import DirectoryBlobs
from runner_service.domain.dispatch import Action, Along, Beat, DispatchTimes, Listed, Order, Phase, Report, Verdict
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import Job, JobKind, Step
from runner_service.domain.logs import LogRecord, LogSeal, LogStream
from runner_service.domain.outcomes import Outcome, OutcomeKind
from runner_service.domain.requests import JobDefaults, NewJob
from runner_service.domain.runners import Runner
from runner_service.services.artifacts import Artifacts
from runner_service.services.claimer import Claimer
from runner_service.services.dispatch import Dispatch, ReportAnswer, SyncAnswer
from runner_service.services.endings import Endings
from runner_service.services.inputs import Inputs
from runner_service.services.job_secrets import JobSecrets
from runner_service.services.jobs import Jobs
from runner_service.services.logs import Archiver, ArchiveReader, LogIngest, LogReader, LogTails
from runner_service.services.runners import NewRunner, RunnerCredentials, RunnerServices
from runner_service.services.sealing import Sealer
from runner_service.services.secrets import Secrets
from runner_service.store import SqlStore

SOON = 60.0
"""Seconds within which something must happen that happens at once."""
DONE = Outcome(kind=OutcomeKind.EXITED, exit_code=0)
FAILED = Outcome(kind=OutcomeKind.EXITED, exit_code=1)


@dataclass
class House:
    """Everything between the servicers and the store."""

    store: SqlStore
    clock: MovingClock
    jobs: Jobs
    runners: RunnerServices
    claimer: Claimer
    dispatch: Dispatch
    ingest: LogIngest
    inputs: Inputs
    secrets: Secrets
    artifacts: Artifacts
    reader: LogReader
    archiver: Archiver
    blobs: DirectoryBlobs

    async def job(self, **fields: Any) -> Job:
        steps = (Step(argv=("true",)),)
        return await self.jobs.create(NewJob(**{"kind": JobKind.JOB, "steps": steps, **fields}))

    async def worker(self, *, slots: int = 1, **labels: str) -> Worker:
        runner, _ = await self.runners.registry.register(NewRunner(name="machine", labels=labels, slots=slots))
        return Worker(self, runner)


@asynccontextmanager
async def open_house(store: SqlStore, clock: MovingClock, directory: Path) -> AsyncIterator[House]:
    signals, tails, endings = store.signals, LogTails(), Endings()
    blobs = DirectoryBlobs(directory / "blobs")
    archive = ArchiveReader(store=store.logs, blobs=blobs)
    claimer = Claimer(store=store.dispatch, signals=signals)
    secrets = Secrets(store=store.secrets, sealer=Sealer(bytes(32)))
    jobs = Jobs(
        store=store.jobs,
        signals=signals,
        endings=endings,
        defaults=JobDefaults(queue_limit=100),
        secrets=secrets,
    )
    reader = LogReader(jobs=store.jobs, store=store.logs, archive=archive, signals=signals, tails=tails)
    runners = RunnerServices.over(
        store.runners,
        store.runner_feed,
        store.samples,
        store.answers,
        RunnerCredentials(store=store.worker_credentials, sealer=Sealer(bytes(32))),
        signals=signals,
        clock=clock,
        jobs=jobs,
        reader=reader,
    )
    house = House(
        store=store,
        clock=clock,
        jobs=jobs,
        runners=runners,
        claimer=claimer,
        dispatch=Dispatch(
            store=store.dispatch,
            signals=signals,
            claimer=claimer,
            tails=tails,
            endings=endings,
            times=DispatchTimes(),
            secrets=JobSecrets(secrets),
            listener=runners.monitor,
        ),
        ingest=LogIngest(store=store.logs, signals=signals, tails=tails),
        secrets=secrets,
        artifacts=Artifacts(store=store.artifacts, jobs=store.jobs, blobs=blobs, max_bytes=10_000, keep_seconds=3600),
        inputs=Inputs(store=store.inputs, jobs=store.jobs, signals=signals),
        reader=reader,
        archiver=Archiver(store=store.logs, blobs=blobs),
        blobs=blobs,
    )
    claiming = asyncio.create_task(claimer.run())
    try:
        yield house
    finally:
        claiming.cancel()
        await asyncio.gather(claiming, return_exceptions=True)


@dataclass
class Worker:
    """A worker that does what it is told, unless the test has it lose a reply."""

    house: House
    runner: Runner
    session_id: str = field(default_factory=new_id)
    number: int = 0
    held: dict[str, tuple[int, Phase]] = field(default_factory=dict)
    changes_only: bool = False

    def beat(self, *, number: int | None = None) -> Beat:
        if number is None:
            self.number = number = self.number + 1
        return Beat(
            runner_id=self.runner.runner_id,
            session_id=self.session_id,
            sync_number=number,
            boot_id="boot",
            spool_id="spool",
            labels=self.runner.labels,
            slots=self.runner.slots,
            changes_only=self.changes_only,
            listed=tuple(
                Listed(attempt_id=attempt, fence=fence, phase=phase) for attempt, (fence, phase) in self.held.items()
            ),
        )

    def call(self, **fields: Any) -> asyncio.Task[SyncAnswer]:
        """A Sync under way."""
        return asyncio.create_task(self.house.dispatch.sync(self.beat(**fields)))

    async def sync(self) -> Sequence[Order]:
        """A Sync that has news to bring, and what follows from them."""
        answer = await asyncio.wait_for(self.call(), SOON)
        self.apply(answer)
        return answer.orders

    def apply(self, answer: SyncAnswer) -> None:
        phases = {Action.OFFER: Phase.HELD, Action.RUN: Phase.STARTED, Action.CANCEL: Phase.ENDING}
        for order in answer.orders:
            if order.action is Action.FORGET:
                self.held.pop(order.attempt_id, None)
            else:
                self.held[order.attempt_id] = (order.fence, phases[order.action])

    async def start(self) -> str:
        """Takes a job to where its process runs; the attempt's id."""
        (offer,) = [order for order in await self.sync() if order.action is Action.OFFER]
        await self.sync()
        assert self.held[offer.attempt_id][1] is Phase.STARTED
        return offer.attempt_id

    async def write(self, attempt_id: str, *texts: bytes, first: int = 0, stream: LogStream = LogStream.STDOUT) -> None:
        records = [LogRecord(first + number, 1_000, stream, text) for number, text in enumerate(texts)]
        await self.house.ingest.append(attempt_id, self.held[attempt_id][0], records, runner_id=self.runner.runner_id)

    async def exchange(self, *ended: str, held: Sequence[Order] = (), number: int = 0) -> Sequence[Order]:
        """Reports what ended well, and has what is held confirmed; what comes along."""
        return (await self.exchanged(*ended, held=held, number=number)).orders

    async def exchanged(
        self, *ended: str, held: Sequence[Order] = (), number: int = 0, confidential: bool = False
    ) -> ReportAnswer:
        reports = [
            Report(
                runner_id=self.runner.runner_id,
                attempt_id=attempt_id,
                fence=self.held.pop(attempt_id)[0],
                outcome=DONE,
            )
            for attempt_id in ended
        ]
        along = Along(
            runner_id=self.runner.runner_id,
            session_id=self.session_id,
            sync_number=self.number,
            held=tuple(Listed(attempt_id=one.attempt_id, fence=one.fence, phase=Phase.HELD) for one in held),
            number=number,
        )
        answer = await self.house.dispatch.report(reports, along, confidential=confidential)
        for order in answer.orders:
            phase = Phase.HELD if order.action is Action.OFFER else Phase.STARTED
            self.held[order.attempt_id] = (order.fence, phase)
        return answer

    async def report(self, attempt_id: str, outcome: Outcome = DONE, *, seal: LogSeal | None = None) -> Verdict:
        fence, _ = self.held[attempt_id]
        report = Report(runner_id=self.runner.runner_id, attempt_id=attempt_id, fence=fence, outcome=outcome, seal=seal)
        (verdict,) = (await self.house.dispatch.report([report])).verdicts
        return verdict

    async def finish(self, attempt_id: str, outcome: Outcome = DONE, *, seal: LogSeal | None = None) -> None:
        """Reports with success and lists it no more."""
        assert await self.report(attempt_id, outcome, seal=seal) is Verdict.ACCEPTED
        del self.held[attempt_id]


async def parked(task: asyncio.Task[Any]) -> bool:
    """Tells whether a call stays under way for some turns of the store."""
    done, _ = await asyncio.wait([task], timeout=0.15)
    return not done
