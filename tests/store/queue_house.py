"""What the tests of lab queues in the store build their cases from."""

from __future__ import annotations

from typing import Any

from store_house import PLENTY, make_job

from runner_service.domain.jobs import LossPolicy
from runner_service.domain.queues import ORIGIN, NewQueueJob, PopRequest, QueueJob, requirement
from runner_service.store import SqlStore


def new_queue_job(
    queue: str = "lab", *, exclude: tuple[str, ...] = (), fields: dict[str, Any] | None = None, **more: Any
) -> NewQueueJob:
    spec = {"required_labels": requirement(queue, exclude), "loss_policy": LossPolicy.FAIL}
    job = make_job(origin=ORIGIN, spec=spec, **(fields or {}))
    values: dict[str, Any] = {"definition": f'{{"job_queue":"{queue}"}}', "lease_seconds": 100.0}
    return NewQueueJob(job=job, queue=queue, **{**values, **more})


async def push(store: SqlStore, queue: str = "lab", **options: Any) -> QueueJob:
    pushed, new = await store.queues.push(new_queue_job(queue, **options), queue_limit=PLENTY)
    assert new
    return pushed


async def pop(store: SqlStore, *queues: str, agent: str = "agent-1", **options: Any) -> str:
    """The id of what is popped; empty: nothing."""
    popped = await store.queues.pop(PopRequest(queues=queues or ("lab",), agent=agent, **options))
    return popped.job.job_id if popped else ""
