"""RetryJob: a new job of what one that has ended was asked to do, on both stores."""

from __future__ import annotations

from typing import Any

import pytest
from services_house import FAILED, House

from runner_service.domain.containers import Container
from runner_service.domain.errors import (
    AlreadyExists,
    InvalidArgument,
    JobNotFound,
    JobNotRetryable,
    QueueFull,
    Unavailable,
)
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import Job, JobKind, JobSpec, JobState, Step
from runner_service.domain.queues import requirement
from runner_service.domain.retries import check_retry


async def ended(house: House, **fields: Any) -> Job:
    job = await house.job(**fields)
    return await house.jobs.cancel(job.job_id, by="somebody")


async def test_all_that_was_asked_for_is_asked_for_again(house: House) -> None:
    await house.secrets.set("token", b"long enough to mask")
    old = await ended(
        house,
        environment={"A": "b"},
        secrets={"TOKEN": "token"},
        required_labels={"os": "linux"},
        max_attempts=3,
        priority=7,
        tags={"team": "x"},
        annotations={"priority": "high"},
        origin="sct",
        request_id="first",
    )
    new = await house.jobs.retry(old.job_id, by="me")
    assert (new.spec, new.kind, new.priority, new.tags) == (old.spec, old.kind, old.priority, old.tags)
    assert (new.state, new.retry_of, new.created_by, new.origin) == (JobState.QUEUED, old.job_id, "me", "native")
    assert (new.annotations, new.request_id, new.attempts) == ({}, "", 0)
    assert await house.jobs.get(new.job_id) == new
    assert await house.jobs.get(old.job_id) == old  # Terminal is final.
    assert new.job_id != (await house.jobs.retry(old.job_id)).job_id


async def test_it_runs_and_can_be_retried_too(house: House) -> None:
    worker = await house.worker()
    old = await house.job()
    await worker.finish(await worker.start(), FAILED)
    new = await house.jobs.retry(old.job_id)
    await worker.finish(await worker.start())
    assert (await house.jobs.get(new.job_id)).state is JobState.SUCCEEDED
    assert (await house.jobs.retry(new.job_id)).retry_of == new.job_id


async def test_a_request_id_makes_one_job_even_when_the_old_one_is_gone(house: House) -> None:
    old, other = await ended(house), await ended(house)
    new = await house.jobs.retry(old.job_id, by="me", request_id="r")
    assert await house.jobs.retry(old.job_id, by="me", request_id="r") == new
    assert (await house.jobs.retry(old.job_id, by="you", request_id="r")).job_id != new.job_id
    with pytest.raises(AlreadyExists):
        await house.jobs.retry(other.job_id, by="me", request_id="r")
    await house.job(request_id="r2")
    with pytest.raises(AlreadyExists):
        await house.jobs.retry(old.job_id, request_id="r2")
    house.clock.advance(3600)
    await house.store.jobs.expire(finished_before=house.clock.now(), limit=10)
    assert await house.jobs.retry(old.job_id, by="me", request_id="r") == new
    for request_id in ("", "another"):
        with pytest.raises(JobNotFound):
            await house.jobs.retry(old.job_id, by="me", request_id=request_id)
    with pytest.raises(JobNotFound):
        await house.jobs.retry(other.job_id, by="me", request_id="r")
    with pytest.raises(InvalidArgument):
        await house.jobs.retry(old.job_id, request_id="x" * 201)


async def test_what_it_refers_to_must_be_there_still(house: House) -> None:
    await house.secrets.set("token", b"long enough to mask")
    old = await ended(house, secrets={"TOKEN": "token"})
    await house.secrets.delete("token")
    with pytest.raises(InvalidArgument, match="there is no secret token"):
        await house.jobs.retry(old.job_id)


async def test_the_bound_of_the_queue_holds(house: House) -> None:
    old = await ended(house)
    for _ in range(100):
        await house.job()
    with pytest.raises(QueueFull):
        await house.jobs.retry(old.job_id)
    house.jobs.stop_accepting()
    with pytest.raises(Unavailable):
        await house.jobs.retry(old.job_id)


async def test_one_whose_time_was_over_before_it_began_ends_so_again(house: House) -> None:
    new = await house.jobs.retry((await house.job(timeout_seconds=-1.0)).job_id)
    assert (new.state, new.outcome and new.outcome.detail) == (JobState.TIMED_OUT, "run")


def _job(**fields: Any) -> Job:
    values: dict[str, Any] = {"job_id": new_id(), "kind": JobKind.JOB, "state": JobState.FAILED, "created_at": 0}
    spec = {"steps": (Step(argv=("x",)),), **fields.pop("spec", {})}
    return Job(**{**values, **fields, "spec": JobSpec(**spec)})


@pytest.mark.parametrize(
    ("job", "why"),
    [
        (_job(state=JobState.RUNNING), "it has not ended"),
        (_job(state=JobState.QUEUED), "it has not ended"),
        (_job(kind=JobKind.AGENT), "it is an agent"),
        (_job(spec={"required_labels": requirement("lab", ())}), "it is a job of a lab queue"),
        (_job(spec={"container": Container(image="i", privileged=True)}), "its container was privileged"),
    ],
)
def test_what_cannot_be_retried_says_why(job: Job, why: str) -> None:
    with pytest.raises(JobNotRetryable, match=why):
        check_retry(job)


@pytest.mark.parametrize("state", [state for state in JobState if state.terminal])
def test_every_job_that_has_ended_can_be_retried(state: JobState) -> None:
    check_retry(_job(state=state))
