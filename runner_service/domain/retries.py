"""Doing again what a job that has ended was asked to do: a new job, because terminal is final."""

from __future__ import annotations

import hashlib

from runner_service.domain.errors import JobNotRetryable
from runner_service.domain.jobs import Job, JobKind, JobState
from runner_service.domain.queues import queues_of


def check_retry(job: Job) -> None:
    """Raises `JobNotRetryable`."""
    if not job.state.terminal:
        raise JobNotRetryable(job_id=job.job_id, problem="it has not ended; wait for it, or cancel it first")
    if job.kind is JobKind.AGENT:
        raise JobNotRetryable(job_id=job.job_id, problem="it is an agent; make another one of its image")
    if queues_of(job.spec.required_labels):
        raise JobNotRetryable(job_id=job.job_id, problem="it is a job of a lab queue; push its definition again")
    if job.spec.container is not None and job.spec.container.privileged:
        # What its runner's configuration allows is asked for when a job is submitted to that runner.
        raise JobNotRetryable(job_id=job.job_id, problem="its container was privileged; submit it to its runner again")


def retried(job: Job, job_id: str, *, by: str, request_id: str) -> Job:
    """The job that does ``job`` again, not stored yet. Raises `JobNotRetryable`."""
    check_retry(job)
    return Job(
        job_id=job_id,
        kind=job.kind,
        spec=job.spec,
        state=JobState.QUEUED,
        created_at=0,
        priority=job.priority,
        tags=job.tags,
        request_id=request_id,
        created_by=by,
        retry_of=job.job_id,
    )


def retry_fingerprint(job_id: str) -> str:
    """Tells a retry of ``job_id`` apart from other requests that bear the same request id."""
    return hashlib.sha256(f"retry of {job_id}".encode()).hexdigest()
