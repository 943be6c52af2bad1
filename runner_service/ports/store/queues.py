"""Jobs of lab queues: pushed and popped under lease."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from runner_service.domain.queues import Attachments, Found, NewQueueJob, PopRequest, QueueJob, Search
from runner_service.ports.store.answers import Mark


class QueueStore(Protocol):
    """Jobs of queues. What holds of jobs holds of them too: they are jobs, see `JobStore`."""

    async def push(self, new: NewQueueJob, *, queue_limit: int) -> tuple[QueueJob, bool]:
        """Stores a job, and returns it with True. When there is a job of a queue with its id already, there is no
        second one: if it has not ended, it is returned as it stands with False; with ``new.give_back`` it waits again.

        Raises:
            QueueFull: ``queue_limit`` jobs are QUEUED already.
            JobFinished: The job with its id has ended, or a cancel of it was accepted.
            JobExists: A job that is of no queue has the id.
        """
        ...

    async def get(self, job_id: str) -> QueueJob:
        """Raises `JobNotFound`, also for jobs that are of no queue."""
        ...

    async def pop(self, wanted: PopRequest) -> QueueJob | None:
        """Gives out one waiting job of the queues: by priority, then first in, first out, leaving out those that
        exclude the agent or wait for attachments. Moves it to RUNNING with a new attempt and a lease, in
        one transaction; with any number of callers and servers nobody gets the same job. With a ``key`` that popped a
        job before, that one is returned as it stands."""
        ...

    async def renew(
        self, job_id: str, *, agent: str | None, lease_seconds: float | None = None, mark: Mark | None = None
    ) -> None:
        """A sign of life: the lease of the job counts from now, if somebody has it (and is ``agent``, when named). With
        ``lease_seconds`` it is of that length from now on. No error when there is no such job."""
        ...

    async def post_result(
        self, job_id: str, members: Mapping[str, str], *, word: str | None, mark: Mark | None = None
    ) -> QueueJob | None:
        """Merges members of a result (name → JSON text) into what is kept of the id, be there such a job or not.
        ``word`` is the agent's new word for the job's state: an ending one ends the job by its phases' codes; it
        changes nothing when the job has ended or is cancelled, except that an accepted cancel is then carried out.
        Returns the job, if there is one."""
        ...

    async def results(self, job_id: str) -> Mapping[str, str]:
        """All members that were posted for the id."""
        ...

    async def set_attachments(self, job_id: str, state: Attachments) -> None:
        """Says whether a waiting job's files are there; until then it is not given out."""
        ...

    async def position(self, job_id: str) -> int:
        """How many waiting jobs of the same queue stand before this one. Raises `JobNotFound`."""
        ...

    async def search(self, search: Search) -> Sequence[Found]:
        """Jobs in the order in which they were pushed."""
        ...

    async def counts(self) -> Mapping[str, tuple[int, int]]:
        """How many jobs of each queue wait, and how many run; queues without any are left out."""
        ...

    async def waits(self, queues: Sequence[str], *, limit: int) -> Mapping[str, Sequence[float]]:
        """How many seconds jobs waited that were popped, the ``limit`` latest of each queue; all queues when none is
        named. Queues without any are left out."""
        ...

    async def expire(self, *, requeue: bool) -> Sequence[QueueJob]:
        """Ends jobs whose lease ran out LOST (or CANCELLED, when that was accepted), or lets them wait again, at most
        twice; marks their agents lost. Returns them as they were."""
        ...

    async def renew_all(self) -> None:
        """Gives every lease its full length from now: a server that was away itself blames nobody."""
        ...
