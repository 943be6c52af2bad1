"""Use cases of jobs and commands: create, read, cancel, wait, watch."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from runner_service.domain.errors import JobFinished, JobNotFound, RequestNotFound, Unavailable
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import Attempt, Job, JobEvent, JobKind, JobSpec, JobState
from runner_service.domain.outcomes import Outcome, OutcomeKind
from runner_service.domain.requests import JobDefaults, NewJob, check_request_id, make_spec
from runner_service.domain.retries import retried, retry_fingerprint
from runner_service.ports.signals import EVENTS, QUEUE, Signals, Waiter, end_topic, feed_topic, job_topic, runner_topic
from runner_service.ports.store import JobFilter, JobPage, JobStore
from runner_service.services.artifacts import Artifacts
from runner_service.services.endings import Ending, Endings
from runner_service.services.secrets import Secrets

POLL_SECONDS = 10.0
"""A waiter looks at the store this often even when no hint comes; `Signals` caps it where hints can get lost."""
EVENTS_AT_ONCE = 500


class Jobs:
    """Jobs of every kind and dialect."""

    def __init__(
        self,
        *,
        store: JobStore,
        signals: Signals,
        endings: Endings,
        defaults: JobDefaults,
        secrets: Secrets | None = None,
        artifacts: Artifacts | None = None,
    ) -> None:
        self._store = store
        self._endings = endings
        self._signals = signals
        self._defaults = defaults
        self._secrets = secrets
        self._artifacts = artifacts
        self._accepting = True

    def stop_accepting(self) -> None:
        """From now on new jobs are refused, because the server stops."""
        self._accepting = False

    @property
    def accepting(self) -> bool:
        """Whether new jobs are taken."""
        return self._accepting

    async def create(self, request: NewJob, *, by: str = "", wait_seconds: float = 0) -> Job:
        """Stores and queues a job, or returns the one that the same request id made before. With ``wait_seconds`` it
        returns the job once it is terminal, or as it stands after so long.

        A negative timeout has passed already: the job ends TIMED_OUT at once and nothing is started.

        Raises:
            InvalidArgument: Names the field.
            AlreadyExists: The request id was used for another request.
            QueueFull, StorageFull: Nothing was stored.
            Unavailable: The server stops.
        """
        job, fingerprint, limit = await self.draft(request, by=by)
        if wait_seconds <= 0:
            return await self._store_new(job, fingerprint, limit)
        # Subscribed before it is stored: nothing can be missed, and the store need not be asked.
        with self._signals.subscribe(end_topic(job.job_id)) as waiter, self._endings.expect(job.job_id) as ending:
            deadline = time.monotonic() + wait_seconds
            # Whoever waits for its end waits for nothing before, and while nobody has room it cannot begin.
            patient = not self._signals.followed(QUEUE)
            stored = await self._store_new(job, fingerprint, limit, patient=patient)
            if stored.job_id == job.job_id:
                return await self._until_ended(stored, waiter, ending, deadline)
        return await self.wait(stored.job_id, seconds=wait_seconds)

    async def _store_new(self, job: Job, fingerprint: str, queue_limit: int, *, patient: bool = False) -> Job:
        stored, fresh = await self._store.create(job, fingerprint=fingerprint, queue_limit=queue_limit, patient=patient)
        if fresh:
            self._signals.publish((QUEUE, EVENTS, *_feed_topics(stored)))
        return stored

    async def draft(self, request: NewJob, *, by: str = "") -> tuple[Job, str, int]:
        """The job that a request asks for, not stored yet; its fingerprint, and how long the queue may be.

        Raises:
            InvalidArgument: Names the field.
            Unavailable: The server stops.
        """
        if not self._accepting:
            raise Unavailable(retry_after=1)
        spec = make_spec(request, self._defaults)
        await self._check_references(spec)
        job = Job(
            job_id=new_id(),
            kind=request.kind,
            spec=spec,
            state=JobState.QUEUED,
            created_at=0,
            origin=request.origin,
            priority=request.priority,
            tags=request.tags,
            annotations=request.annotations,
            request_id=request.request_id,
            created_by=by,
        )
        return _timely(job), request.fingerprint() if request.request_id else "", self._defaults.queue_limit

    async def _check_references(self, spec: JobSpec) -> None:
        if spec.secrets and self._secrets is not None:
            await self._secrets.check(spec.secrets)
        if spec.inputs and self._artifacts is not None:
            await self._artifacts.check({one.artifact_id for one in spec.inputs})

    async def retry(self, job_id: str, *, by: str = "", request_id: str = "") -> Job:
        """Makes a new job of what a job that has ended was asked to do, or returns the one that the same request id
        made before, though the old one may be gone by now.

        Raises:
            JobNotFound: No such job.
            JobNotRetryable: It has not ended, or is not made by `create`.
            InvalidArgument, AlreadyExists, QueueFull, StorageFull, Unavailable: As `create`.
        """
        if not self._accepting:
            raise Unavailable(retry_after=1)
        check_request_id(request_id)
        try:
            old = await self._store.get(job_id)
        except JobNotFound:
            with contextlib.suppress(RequestNotFound):
                known = await self.by_request(request_id, by=by)
                if known.retry_of == job_id:
                    return known
            raise
        job = retried(old, new_id(), by=by, request_id=request_id)
        await self._check_references(job.spec)
        fingerprint = retry_fingerprint(job_id) if request_id else ""
        return await self._store_new(_timely(job), fingerprint, self._defaults.queue_limit)

    async def get(self, job_id: str, *, origin: str | None = None, kind: JobKind | None = None) -> Job:
        """Returns one job.

        Raises:
            JobNotFound: No such job, or it is of another origin or kind than the one named.
        """
        job = await self._store.get(job_id)
        if (origin is not None and job.origin != origin) or (kind is not None and job.kind is not kind):
            raise JobNotFound(job_id=job_id)
        return job

    async def by_request(self, request_id: str, *, origin: str = "native", by: str = "") -> Job:
        """The job that the same caller made with a request id. Raises `RequestNotFound`."""
        return await self._store.by_request(origin=origin, created_by=by, request_id=request_id)

    async def list(self, filter: JobFilter, *, limit: int, offset: int = 0, after: str = "") -> JobPage:
        """Returns a page, newest first; see `JobStore.list`."""
        return await self._store.list(filter, limit=limit, offset=offset, after=after)

    async def attempts(self, job_id: str) -> Sequence[Attempt]:
        """Returns the attempts of a job, oldest first. Raises `JobNotFound`."""
        await self._store.get(job_id)
        return await self._store.attempts(job_id)

    async def cancel(
        self,
        job_id: str,
        *,
        by: str,
        reason: str = "",
        origin: str | None = None,
        kind: JobKind | None = None,
        once: bool = False,
        repeatable: bool = False,
    ) -> Job:
        """Accepts a cancel: see `JobStore.cancel`. With ``once``, for APIs that show a job as cancelled from the first
        cancel on, another one finds it finished. With ``repeatable`` it may be said again because its answer was lost:
        a job that ended by a cancel is what it asked for.

        Raises:
            JobNotFound: No such job, or of another origin or kind.
            JobFinished: It has ended.
        """
        if origin is not None or kind is not None:
            known = await self.get(job_id, origin=origin, kind=kind)
            if once and known.cancelling:
                raise JobFinished(job_id=job_id, state=JobState.CANCELLED)
        try:
            job = await self._store.cancel(job_id, by=by or "user", reason=reason)
        except JobFinished:
            job = await self._store.get(job_id)
            if not (repeatable and job.cancel is not None):
                raise
            return job
        topics = [EVENTS, job_topic(job_id)]
        if job.state.terminal:
            self._endings.tell(job)
            topics.append(end_topic(job_id))
        if job.runner_id:
            topics.append(runner_topic(job.runner_id))
        topics += _feed_topics(job)
        self._signals.publish(topics)
        return job

    async def wait(self, job_id: str, *, seconds: float) -> Job:
        """Returns the job once it is terminal, or as it stands after ``seconds``. Raises `JobNotFound`."""
        deadline = time.monotonic() + seconds
        with self._signals.subscribe(end_topic(job_id)) as waiter, self._endings.expect(job_id) as ending:
            return await self._until_ended(await self._store.get(job_id), waiter, ending, deadline)

    async def _until_ended(self, job: Job, waiter: Waiter, ending: Ending, deadline: float) -> Job:
        while not job.state.terminal and (left := deadline - time.monotonic()) > 0:
            await waiter.wait(min(left, POLL_SECONDS))
            job = ending.job or await self._store.get(job.job_id)
        return job

    async def watch(self, *, job_id: str = "", after: int = 0) -> AsyncIterator[JobEvent]:
        """Yields events behind ``after`` as they are committed. With ``job_id`` it begins with the job's first and ends
        after ``finished``; without and with ``after`` 0 it begins with the present. Raises `JobNotFound`."""
        with self._signals.subscribe(job_topic(job_id) if job_id else EVENTS) as waiter:
            if job_id:
                await self._store.get(job_id)
            elif not after:
                after = await self._store.last_event()
            while True:
                events = await self._store.events(after=after, limit=EVENTS_AT_ONCE, job_id=job_id or None)
                for event in events:
                    yield event
                    after = event.sequence
                    if job_id and event.kind == "finished":
                        return
                if not events:
                    if job_id and (await self._store.get(job_id)).state.terminal:
                        # Ended before ``after``: nothing will follow.
                        return
                    await waiter.wait(POLL_SECONDS)


def _timely(job: Job) -> Job:
    """The job, or how it ends when its time is over before it begins."""
    if job.spec.timeout_seconds >= 0:
        return job
    return replace(job, state=JobState.TIMED_OUT, outcome=Outcome(kind=OutcomeKind.TIMED_OUT, detail="run"))


def _feed_topics(job: Job) -> Sequence[str]:
    return (feed_topic(job.bound_to),) if job.bound_to else ()
