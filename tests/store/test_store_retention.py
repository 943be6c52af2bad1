"""Deleting what is old."""

from __future__ import annotations

from sqlalchemy import text
from store_house import PLENTY, MovingClock, chunk, create, make_job, running, seal_of

from runner_service.domain.jobs import JobState
from runner_service.ports.store import Expired, JobFilter, LogArchive
from runner_service.store import SqlStore
from runner_service.store.schema import metadata
from runner_service.store.statements import Connection, Query


def rows(conn: Connection) -> dict[str, int]:
    counted = {}
    for table in metadata.sorted_tables:
        row = conn.one(Query(text(f"SELECT count(*) FROM {table.name}")))
        assert row is not None
        counted[table.name] = row[0]
    return counted


async def test_expiry_deletes_old_ended_jobs_with_everything_of_theirs(store: SqlStore, clock: MovingClock) -> None:
    texts = [b"x" * 60_000] * 10
    worker, _, attempt = await running(store, tags={"a": "b"}, request_id="r")
    await store.logs.append(attempt.attempt_id, attempt.fence, chunk(*texts), runner_id=attempt.runner_id)
    await worker.report(attempt, seal=seal_of(*texts))
    _, _, kept = await running(store)
    clock.advance(10)
    young = await create(store)
    await store.jobs.cancel(young.job_id, by="", reason="")

    assert await store.jobs.expire(finished_before=clock.now() - 10_000_000, limit=9) == Expired(jobs=0, blob_keys=())
    assert await store.jobs.expire(finished_before=clock.now(), limit=9) == Expired(jobs=1, blob_keys=())
    assert await store.jobs.count() == {JobState.RUNNING: 1, JobState.CANCELLED: 1}
    counted = await store.engine.read(rows)
    assert (counted["job_tags"], counted["requests"], counted["log_chunks"], counted["attempts"]) == (0, 0, 0, 1)
    assert (counted["job_bodies"], counted["jobs"]) == (2, 2)
    assert {event.job_id for event in await store.jobs.events(after=0, limit=99)} == {kept.job_id, young.job_id}
    _, made = await store.jobs.create(make_job(request_id="r"), fingerprint="new", queue_limit=PLENTY)
    assert made


async def test_expiry_names_the_blobs_that_nothing_points_to_any_more(store: SqlStore, clock: MovingClock) -> None:
    worker, _, attempt = await running(store)
    await worker.report(attempt)
    await store.logs.archive(attempt.attempt_id, LogArchive(blob_key="logs/aa/b", index=b"i"))
    clock.advance(1)
    assert await store.jobs.expire(finished_before=clock.now(), limit=9) == Expired(jobs=1, blob_keys=("logs/aa/b",))
    assert await store.logs.archived(attempt.attempt_id) is None


async def test_expiry_is_bounded_and_starts_with_the_oldest(store: SqlStore, clock: MovingClock) -> None:
    jobs = []
    for _ in range(5):
        clock.advance(1)
        jobs.append(await create(store, state=JobState.FAILED))
    clock.advance(1)
    assert (await store.jobs.expire(finished_before=clock.now(), limit=2)).jobs == 2
    left = {job.job_id for job in (await store.jobs.list(JobFilter(), limit=0)).jobs}
    assert left == {job.job_id for job in jobs[2:]}


async def test_sequences_are_not_given_again_after_expiry(store: SqlStore, clock: MovingClock) -> None:
    await create(store, state=JobState.FAILED)
    before = await store.jobs.last_event()
    clock.advance(1)
    await store.jobs.expire(finished_before=clock.now(), limit=9)
    await create(store)
    assert [event.sequence > before for event in await store.jobs.events(after=before, limit=9)] == [True]
