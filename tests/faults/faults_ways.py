"""One way to each commit path: what has to be there before, and the one step that takes it.

A step is run in a process that is killed at a crash point of the path, and then again in one that is not. So it does
what the service does when it comes back: asks for the same once more.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import select
from store_house import (
    DONE,
    PLENTY,
    SECOND,
    MovingClock,
    Worker,
    chunk,
    create,
    make_job,
    make_worker,
    running,
    seal_of,
)

from runner_service.blobs.directory import DirectoryBlobs
from runner_service.domain import inputs
from runner_service.domain.artifacts import Artifact, ArtifactPart, ArtifactState
from runner_service.domain.dispatch import Report, Want
from runner_service.domain.errors import ArtifactNotFound, JobFinished, JobNotFound
from runner_service.domain.jobs import JobState, LossPolicy, Stdin
from runner_service.ports.store import JobFilter
from runner_service.services.logs.archive import Archiver, ArchiveReader
from runner_service.services.retention import Retention
from runner_service.store import SqlStore, open_store
from runner_service.store.schema import input_records
from runner_service.store.statements import Query, string

LEASE, CONFIRM, BUDGET = 30.0, 15.0, 10.0
ARTIFACT = "a" * 36
LINE = b"x" * 60_000
LINES = 6
"""More than what is archived at least."""
Facts = dict[str, Any]
"""What the step has to know, as JSON."""


class Stage(NamedTuple):
    """What both processes have."""

    store: SqlStore
    clock: MovingClock
    blobs: DirectoryBlobs


Holds = Callable[[Stage, Facts], Awaitable[bool]]


class Way(NamedTuple):
    """To one commit path."""

    prepare: Callable[[Stage], Awaitable[Facts]]
    step: Callable[[Stage, Facts], Awaitable[object]]
    holds: Holds
    """What is to be true once the step was taken, however often it was begun."""


async def nothing(_: Stage) -> Facts:
    return {"artifact_id": ARTIFACT}


async def queued(stage: Stage) -> Facts:
    worker = await make_worker(stage.store)
    job = await create(stage.store, spec={"queue_timeout_seconds": 60.0})
    return {"job_id": job.job_id, "runner_id": worker.runner_id}


async def offered(stage: Stage) -> Facts:
    worker = await make_worker(stage.store)
    job = await create(stage.store)
    (assignment,) = await worker.claim()
    return {"job_id": job.job_id, **_facts(worker, assignment.attempt)}


async def at_work(stage: Stage, **spec: Any) -> Facts:
    worker, job, attempt = await running(stage.store, spec=spec)
    return {"job_id": job.job_id, **_facts(worker, attempt)}


async def with_input(stage: Stage) -> Facts:
    facts = await at_work(stage, stdin=Stdin.PIPE)
    await stage.store.inputs.append(facts["job_id"], inputs.data(b"hello"), at=0)
    return facts


async def with_input_left(stage: Stage) -> Facts:
    """It has ended, and input that nobody took is left."""
    facts = await with_input(stage)
    await stage.store.dispatch.report([_report(facts)])
    return facts


async def repeated(stage: Stage) -> Facts:
    return await at_work(stage, loss_policy=LossPolicy.RETRY, idempotent=True, max_attempts=2)


async def written(stage: Stage) -> Facts:
    """An ended job with enough output for an archive."""
    facts = await at_work(stage)
    await _append(stage, facts, *[LINE] * LINES)
    await stage.store.dispatch.report([_report(facts, *[LINE] * LINES)])
    return facts


async def begun(stage: Stage) -> Facts:
    artifact = Artifact(artifact_id=ARTIFACT, name="a.txt", created_by="me")
    await stage.store.artifacts.begin(artifact, request_id="upload")
    return {"artifact_id": artifact.artifact_id}


async def uploaded(stage: Stage) -> Facts:
    facts = await begun(stage)
    await stage.blobs.put("artifacts/aa/a", _once(b"hello"))
    await stage.store.artifacts.add_part(
        facts["artifact_id"], ArtifactPart(offset=0, size=5, blob_key="artifacts/aa/a")
    )
    return facts


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _facts(worker: Worker, attempt: Any) -> Facts:
    return {
        "runner_id": worker.runner_id,
        "session_id": worker.session_id,
        "number": worker.number,
        "attempt_id": attempt.attempt_id,
        "fence": attempt.fence,
    }


def _report(facts: Facts, *texts: bytes) -> Report:
    return Report(
        runner_id=facts["runner_id"],
        attempt_id=facts["attempt_id"],
        fence=facts["fence"],
        outcome=DONE,
        seal=seal_of(*texts),
    )


def _worker(stage: Stage, facts: Facts) -> Worker:
    worker = Worker.__new__(Worker)
    worker.store, worker.labels, worker.lease_seconds = stage.store, {}, LEASE
    worker.runner_id, worker.session_id, worker.number = facts["runner_id"], facts["session_id"], facts["number"]
    worker.listed = {facts["attempt_id"]: facts["fence"]}
    return worker


async def _append(stage: Stage, facts: Facts, *texts: bytes) -> object:
    return await stage.store.logs.append(
        facts["attempt_id"], facts["fence"], chunk(*texts), runner_id=facts["runner_id"]
    )


async def _create(stage: Stage, _: Facts) -> object:
    return await stage.store.jobs.create(make_job(request_id="one", created_by="me"), queue_limit=PLENTY)


async def _cancel(stage: Stage, facts: Facts) -> None:
    with suppress(JobFinished):
        await stage.store.jobs.cancel(facts["job_id"], by="user", reason="")


async def _claim(stage: Stage, facts: Facts) -> object:
    return await stage.store.dispatch.claim([Want(runner_id=facts["runner_id"], labels={}, count=1)])


async def _release(stage: Stage, _: Facts) -> object:
    stage.clock.advance(CONFIRM + 1)
    return await stage.store.dispatch.release_unconfirmed(older_than_seconds=CONFIRM)


async def _expire_leases(stage: Stage, _: Facts) -> object:
    stage.clock.advance(LEASE + BUDGET + 1)
    return await stage.store.dispatch.expire_leases(kill_budget_seconds=BUDGET)


async def _expire_queued(stage: Stage, _: Facts) -> object:
    stage.clock.advance(61)
    return await stage.store.dispatch.expire_queued()


async def _renew(stage: Stage, _: Facts) -> object:
    stage.clock.advance(LEASE)
    return await stage.store.dispatch.renew_leases(lease_seconds=LEASE)


async def _drop(stage: Stage, _: Facts) -> None:
    stage.clock.advance(120)
    await Retention(
        jobs=stage.store.jobs, blobs=stage.blobs, clock=stage.clock, keep_seconds=60, sweep_seconds=1
    ).sweep()


async def _archive(stage: Stage, _: Facts) -> object:
    return await Archiver(store=stage.store.logs, blobs=stage.blobs).archive_some()


async def _delete(stage: Stage, facts: Facts) -> None:
    with suppress(ArtifactNotFound):
        await stage.store.artifacts.delete(facts["artifact_id"])


async def _upload(stage: Stage, facts: Facts) -> object:
    part = ArtifactPart(offset=0, size=5, blob_key="artifacts/aa/a")
    return await stage.store.artifacts.add_part(facts["artifact_id"], part)


async def _expire_artifacts(stage: Stage, _: Facts) -> object:
    return await stage.store.artifacts.expire(seconds=-1, upload_seconds=-1, limit=9)


async def _discard(stage: Stage, facts: Facts) -> object:
    return await stage.store.inputs.discard(facts["job_id"])


async def _is_whole(stage: Stage, facts: Facts) -> bool:
    """Everything of the log can be read, from where it is now."""
    reader = ArchiveReader(store=stage.store.logs, blobs=stage.blobs)
    got, sequence = 0, 0
    while chunks := (
        await stage.store.logs.read(facts["attempt_id"], sequence=sequence, max_bytes=1 << 20)
        or await reader.read(facts["attempt_id"], sequence)
    ):
        got += sum(chunk.records for chunk in chunks if chunk.first_sequence >= sequence)
        sequence = chunks[-1].first_sequence + chunks[-1].records
    return got == LINES and await stage.store.logs.archivable(limit=9) == []


async def _is_gone(stage: Stage, facts: Facts) -> bool:
    try:
        await stage.store.jobs.get(facts["job_id"])
    except JobNotFound:
        return not [path for path in Path(stage.blobs._root).rglob("*") if path.is_file()]
    return False


def _job_is(*states: JobState) -> Holds:
    async def holds(stage: Stage, facts: Facts) -> bool:
        return (await stage.store.jobs.get(facts["job_id"])).state in states

    return holds


def _input_is(next_offset: int, written: int) -> Holds:
    async def holds(stage: Stage, facts: Facts) -> bool:
        status = await stage.store.inputs.status(facts["job_id"])
        return (status.next_offset, status.written_offset) == (next_offset, written)

    return holds


async def _no_input(stage: Stage, facts: Facts) -> bool:
    rows = Query(select(input_records.c.job_id).where(input_records.c.job_id == string("job_id")))
    return not await stage.store.engine.read(lambda conn: conn.all(rows, {"job_id": facts["job_id"]}))


def _artifact_is(state: ArtifactState, size: int) -> Holds:
    async def holds(stage: Stage, facts: Facts) -> bool:
        found = await stage.store.artifacts.get(facts["artifact_id"])
        return (found.state, found.size) == (state, size)

    return holds


async def _artifact_is_gone(stage: Stage, facts: Facts) -> bool:
    with suppress(ArtifactNotFound):
        await stage.store.artifacts.get(facts["artifact_id"])
        return False
    return True


async def _one_job(stage: Stage, _: Facts) -> bool:
    return len((await stage.store.jobs.list(JobFilter(), limit=0)).jobs) == 1


async def _log_is_sealed(stage: Stage, facts: Facts) -> bool:
    status = await stage.store.logs.status(facts["attempt_id"])
    return status.sealed and status.complete and status.next_sequence == 1


async def _log_has_one(stage: Stage, facts: Facts) -> bool:
    return (await stage.store.logs.status(facts["attempt_id"])).next_sequence == 1


async def _lease_is_new(stage: Stage, facts: Facts) -> bool:
    runner = await stage.store.runners.get(facts["runner_id"])
    return runner.lease_until >= stage.clock.now() + LEASE * SECOND


async def with_output(stage: Stage) -> Facts:
    facts = await at_work(stage)
    await _append(stage, facts, b"hello")
    return facts


WAYS: dict[str, Way] = {
    "jobs.create": Way(nothing, _create, _one_job),
    "jobs.cancel": Way(queued, _cancel, _job_is(JobState.CANCELLED)),
    "claims.claim_all": Way(queued, _claim, _job_is(JobState.ASSIGNED)),
    "dispatch.beat": Way(offered, lambda stage, facts: _worker(stage, facts).beat(), _job_is(JobState.RUNNING)),
    "exchanges.exchange_all": Way(
        at_work, lambda stage, facts: stage.store.dispatch.report([_report(facts)]), _job_is(JobState.SUCCEEDED)
    ),
    "dispatch.release_unconfirmed": Way(offered, _release, _job_is(JobState.QUEUED)),
    "dispatch.expire_leases": Way(repeated, _expire_leases, _job_is(JobState.QUEUED)),
    "dispatch.expire_queued": Way(queued, _expire_queued, _job_is(JobState.TIMED_OUT)),
    "dispatch.renew_leases": Way(at_work, _renew, _lease_is_new),
    "logs.append": Way(
        at_work,
        lambda stage, facts: _append(stage, facts, b"hello"),
        _log_has_one,
    ),
    "logs.seal": Way(
        with_output,
        lambda stage, facts: stage.store.logs.seal(
            facts["attempt_id"], facts["fence"], seal_of(b"hello"), runner_id=facts["runner_id"]
        ),
        _log_is_sealed,
    ),
    "logs.archive": Way(written, _archive, _is_whole),
    "logs.drop_chunks": Way(written, _archive, _is_whole),
    "logs.forget_rows": Way(written, _archive, _is_whole),
    "retention.drop_jobs": Way(written, _drop, _is_gone),
    "inputs.append": Way(
        with_input,
        lambda stage, facts: stage.store.inputs.append(facts["job_id"], inputs.data(b"world"), at=5),
        _input_is(10, 0),
    ),
    "inputs.advance": Way(
        with_input,
        lambda stage, facts: stage.store.inputs.advance(facts["attempt_id"], facts["fence"], 5),
        _input_is(5, 5),
    ),
    "inputs.discard": Way(with_input_left, _discard, _no_input),
    "artifacts.begin": Way(nothing, lambda stage, _: begun(stage), _artifact_is(ArtifactState.UPLOADING, 0)),
    "artifacts.add_part": Way(begun, _upload, _artifact_is(ArtifactState.UPLOADING, 5)),
    "artifacts.finish": Way(
        uploaded,
        lambda stage, facts: stage.store.artifacts.finish(facts["artifact_id"], "ab" * 32),
        _artifact_is(ArtifactState.READY, 5),
    ),
    "artifacts.drop": Way(uploaded, _delete, _artifact_is_gone),
    "artifacts.expire": Way(uploaded, _expire_artifacts, _artifact_is_gone),
}


async def run(path: str, url: str, blobs: str, facts: Facts) -> None:
    """The step alone, as a process of its own."""
    async with open_stage(url, blobs) as stage:
        await WAYS[path].step(stage, facts)


@asynccontextmanager
async def open_stage(url: str, blobs: str) -> AsyncIterator[Stage]:
    """Each time at the same moment: a clock that stands until a step moves it."""
    clock = MovingClock()
    async with open_store(url, clock=clock) as store:
        yield Stage(store, clock, DirectoryBlobs(Path(blobs)))


def main(arguments: list[str]) -> int:
    """``PATH URL BLOBS FACTS``."""
    path, url, blobs, facts = arguments
    asyncio.run(run(path, url, blobs, json.loads(facts)))
    return 0
