"""Jobs of lab queues: pushed by people, popped by agents under a lease, moved on by what agents say."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from runner_service.domain.errors import (
    AgentTaken,
    JobFinished,
    JobNotFound,
    LabAgentNotFound,
    NoAgentAllowed,
    NotYourJob,
    SecretsInaccessible,
    Unavailable,
)
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import Job, JobInput, JobKind, JobSpec, JobState, LossPolicy
from runner_service.domain.lab_secrets import SecretPlace
from runner_service.domain.queues import (
    ATTACHMENTS_PATH,
    ORIGIN,
    OUTPUTS,
    Attachments,
    Found,
    NewQueueJob,
    PopRequest,
    QueueJob,
    Search,
    percentiles,
    requirement,
)
from runner_service.ports.clock import Clock
from runner_service.ports.signals import EVENTS, QUEUE, Signals, job_topic, log_topic
from runner_service.ports.store import LabAgentStore, Mark, QueueStore
from runner_service.services.jobs import Jobs
from runner_service.services.logs.tails import LogTails
from runner_service.services.queues.definition import (
    PhaseCommands,
    Submission,
    environment_of,
    read_definition,
    serial_of,
    steps_of,
    with_secrets,
)
from runner_service.services.queues.ours import SERIAL_ON_STDERR
from runner_service.services.queues.permissions import Permissions, check_push
from runner_service.services.queues.secrets import LabSecrets

log = logging.getLogger(__name__)

_PRECISION = 5.0
"""Seconds: a lease that was renewed so lately is left alone."""
KILL_GRACE = 5.0
WAITS_KEPT = 1000
"""Of each queue: how many of the latest jobs its wait times speak of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabTimes:
    """How long agents may be silent."""

    silence: float = 900.0
    """Of agents that ask how their job stands, as those of both eras do every 10 seconds."""
    global_timeout: float = 4 * 3600.0
    """Of jobs that name none."""
    grace: float = 600.0
    """Beyond a job's own time, before its agent counts as lost."""
    cleanup: float = 60.0
    """Of the cleanup of a job that is told to end."""
    queue: float = 0.0
    """How long a job waits for an agent, before it ends; 0: for ever."""
    requeue_lost: bool = False
    """A job whose agent is lost waits for another one, instead of ending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentIdentity:
    """An agent, and the credential that it shows."""

    name: str
    client_id: str = ""
    """Empty: none."""


class Queues:
    """Use cases of lab queues."""

    def __init__(
        self,
        *,
        store: QueueStore,
        agents: LabAgentStore,
        jobs: Jobs,
        signals: Signals,
        tails: LogTails,
        times: LabTimes,
        commands: PhaseCommands,
        queue_limit: int,
        secrets: LabSecrets,
        clock: Clock,
    ) -> None:
        self._store = store
        self._agents = agents
        self._jobs = jobs
        self._signals = signals
        self._tails = tails
        self._times = times
        self._commands = commands
        self._queue_limit = queue_limit
        self._clock = clock
        self._secrets = secrets

    async def push(self, wanted: Submission, *, caller: Permissions, give_back: bool = False) -> QueueJob:
        """Places a job on its queue. One with its id is returned as it stands, or waits again; see `QueueStore.push`.

        Raises:
            PushNeedsCredential, PushForbidden: See `check_push`.
            NoAgentAllowed: Every agent that serves the queue is excluded.
            SecretsInaccessible: It wants secrets that the caller does not have.
            JobFinished, JobExists, QueueFull, StorageFull: See `QueueStore.push`.
            Unavailable: The server stops.
        """
        if not self._jobs.accepting:
            raise Unavailable(retry_after=1)
        check_push(caller, wanted, owners=await self._agents.owners(wanted.queue))
        if wanted.exclude_agents:
            await self._check_excluded(wanted)
        if wanted.secrets:
            await self._check_secrets(wanted, caller.client_id)
        pushed, _ = await self._store.push(
            self._new(wanted, caller.client_id, give_back=give_back), queue_limit=self._queue_limit
        )
        self._signals.publish((QUEUE, EVENTS, job_topic(pushed.job.job_id)))
        return pushed

    async def _check_secrets(self, wanted: Submission, client_id: str) -> None:
        if not client_id:
            raise SecretsInaccessible(problem="Missing client ID (user not authenticated)")
        if missing := await self._secrets.missing(client_id, set(wanted.secrets.values())):
            raise SecretsInaccessible(problem=f"Inaccessible secret paths: {', '.join(missing)}")

    async def with_secrets(self, popped: QueueJob) -> QueueJob:
        """A job as its agent gets it: with the values of the secrets that it names."""
        wanted = read_definition(popped.definition).secrets
        if not wanted:
            return popped
        values = await self._secrets.values(popped.client_id, wanted, job_id=popped.job.job_id)
        return replace(popped, definition=with_secrets(popped.definition, values))

    async def _check_excluded(self, wanted: Submission) -> None:
        serving = [agent.name for agent in await self._agents.list() if wanted.queue in agent.queues]
        if serving and all(name in wanted.exclude_agents for name in serving):
            raise NoAgentAllowed()

    def _new(self, wanted: Submission, client_id: str, *, give_back: bool) -> NewQueueJob:
        job_id = wanted.job_id or new_id()
        run = (wanted.global_timeout or self._times.global_timeout) + wanted.reserve_timeout
        steps = steps_of(wanted, self._commands)
        spec = JobSpec(
            steps=steps,
            environment=environment_of(wanted, job_id),
            secrets={variable: SecretPlace(client_id, path).reference() for variable, path in wanted.secrets.items()},
            inputs=(JobInput(artifact_id=new_id(), path=ATTACHMENTS_PATH),) if wanted.attachments else (),
            outputs=(OUTPUTS,),
            timeout_seconds=run,
            # A phase that is told to end may take half of it.
            kill_grace_seconds=2 * self._times.cleanup if steps[-1].always else KILL_GRACE,
            queue_timeout_seconds=self._times.queue,
            required_labels=requirement(wanted.queue, wanted.exclude_agents),
            loss_policy=LossPolicy.WAIT,
        )
        job = Job(
            job_id=job_id,
            kind=JobKind.JOB,
            spec=spec,
            state=JobState.QUEUED,
            created_at=0,
            origin=ORIGIN,
            priority=wanted.priority,
            tags=dict.fromkeys(wanted.tags, ""),
            annotations=SERIAL_ON_STDERR if serial_of(wanted, self._commands) else {},
            created_by=client_id,
        )
        return NewQueueJob(
            job=job,
            queue=wanted.queue,
            definition=wanted.definition,
            client_id=client_id,
            attachments=Attachments.WAITING if wanted.attachments else Attachments.NONE,
            lease_seconds=run + self._times.grace,
            give_back=give_back,
        )

    async def get(self, job_id: str) -> QueueJob:
        """Raises `JobNotFound`."""
        return await self._store.get(job_id)

    async def pop(self, wanted: PopRequest) -> QueueJob | None:
        """Gives out the next job of the queues; see `QueueStore.pop`."""
        popped = await self._store.pop(wanted)
        if popped is not None and popped.job.attempts > 1 and wanted.lease_seconds is None:
            # The agent before it may have asked often, and got a lease that counts on that.
            await self.renew(popped.job.job_id, agent=None, lease_seconds=self._whole(popped))
        if popped is not None:
            self._signals.publish((EVENTS, job_topic(popped.job.job_id)))
        return popped

    async def cancel(self, job_id: str, *, caller: Permissions) -> QueueJob:
        """Cancels a job, once.

        Raises:
            JobNotFound: No such job.
            JobFinished: It has ended, or a cancel was accepted before.
            NotYourJob: Somebody else submitted it, and the caller is neither manager nor admin.
        """
        found = await self._store.get(job_id)
        if found.ended:
            raise JobFinished(job_id=job_id, state=found.word)
        above = caller.unlimited or caller.role in ("manager", "admin")
        if found.client_id and caller.client_id != found.client_id and not above:
            raise NotYourJob(job_id=job_id)
        await self._jobs.cancel(job_id, by=caller.client_id or "user", once=True)
        return await self._store.get(job_id)

    async def post_result(
        self,
        job_id: str,
        members: Mapping[str, str],
        *,
        word: str | None,
        agent: AgentIdentity | None = None,
        mark: Mark | None = None,
    ) -> QueueJob | None:
        """Merges a result and moves the job on; see `QueueStore.post_result`. With ``agent``, only its own jobs.

        Raises:
            NotYourJob, AgentTaken: See `check_agent`.
        """
        await self.check_agent(job_id, agent)
        found = await self._store.post_result(job_id, members, word=word, mark=mark)
        if found is not None and word is not None:
            topics = [EVENTS, job_topic(job_id)]
            if found.job.state.terminal:
                topics += [QUEUE, log_topic(found.job.attempt_id)]
                self._tails.settle(found.job.attempt_id)
            self._signals.publish(topics)
        return found

    async def check_agent(self, job_id: str, agent: AgentIdentity | None) -> None:
        """Refuses an agent that says who it is, and posts for a job of another one.

        Raises:
            NotYourJob: Another agent has the job.
            AgentTaken: The agent's name belongs to another credential.
        """
        if agent is None:
            return
        await self.check_identity(agent)
        found = await self.find(job_id)
        if found is not None and found.agent not in ("", agent.name):
            raise NotYourJob(job_id=job_id)

    async def check_identity(self, agent: AgentIdentity) -> None:
        """Refuses a name that was first used with another credential. Raises `AgentTaken`."""
        try:
            owner = (await self._agents.get(agent.name)).client_id
        except LabAgentNotFound:
            return
        if owner not in ("", agent.client_id):
            raise AgentTaken(agent=agent.name)

    async def appear(self, agent: AgentIdentity, queues: Sequence[str]) -> None:
        """An agent asks for jobs: it is known from then on, and not lost. Raises `AgentTaken`."""
        try:
            known = await self._agents.get(agent.name)
        except LabAgentNotFound:
            changes: Mapping[str, object] = {"state": "waiting", "queues": tuple(queues)}
            await self._agents.post(agent.name, changes, client_id=agent.client_id)
            return
        if agent.client_id and known.client_id not in ("", agent.client_id):
            raise AgentTaken(agent=agent.name)
        if known.lost:
            await self._agents.post(agent.name, {}, client_id=agent.client_id)

    async def alive(self, agent: str) -> None:
        """A call of an agent that names no job: a sign of life for the one that it says it has."""
        if not agent:
            return
        try:
            job_id = (await self._agents.get(agent)).job_id
        except LabAgentNotFound:
            return
        await self._store.renew(job_id, agent=agent)

    async def find(self, job_id: str) -> QueueJob | None:
        """The job, if there is such a job of a queue."""
        try:
            return await self._store.get(job_id)
        except JobNotFound:
            return None

    async def renew(
        self, job_id: str, *, agent: str | None, lease_seconds: float | None = None, mark: Mark | None = None
    ) -> None:
        """A sign of life of the job's agent; see `QueueStore.renew`."""
        await self._store.renew(job_id, agent=agent, lease_seconds=lease_seconds, mark=mark)

    async def seen(self, job_id: str, *, agent: str, peer: str) -> None:
        """Somebody asks how a job stands: its agent, if it gives the agent's name, or gives none and calls from where
        the job was popped. From then on it is expected to ask on. A watcher beside an agent may be taken for it, so
        what comes without a name renews nothing beyond the job's whole time."""
        found = await self.find(job_id)
        if found is None or found.lease_until is None:
            return
        whole = self._whole(found)
        now, lease = self._clock.now(), min(self._times.silence, whole)
        if agent:
            known = agent == found.agent
        else:
            # One that never said that it has the job gets along without asking, too.
            since = found.popped_at or now
            over = now > since + whole * found.job.attempts * 1e6
            known = bool(found.agent and peer) and peer == found.peer and not over
        if known and not (lease - _PRECISION) * 1e6 < found.lease_until - now <= lease * 1e6:
            await self.renew(job_id, agent=found.agent, lease_seconds=lease)

    def _whole(self, found: QueueJob) -> float:
        """The lease of an agent that never asks: as long as the job may take, in seconds."""
        return (found.job.spec.timeout_seconds or 0) + self._times.grace

    async def position(self, job_id: str) -> int:
        """How many waiting jobs of the queue stand before this one. Raises `JobNotFound`."""
        return await self._store.position(job_id)

    async def search(self, search: Search) -> Sequence[Found]:
        """Jobs in the order in which they were pushed."""
        return await self._store.search(search)

    async def counts(self) -> Mapping[str, tuple[int, int]]:
        """How many jobs of each queue wait, and how many run."""
        return await self._store.counts()

    async def wait_times(self, queues: Sequence[str]) -> Mapping[str, Mapping[int, float]]:
        """Percentiles of how many seconds the latest jobs of queues waited; see `domain.queues.percentiles`."""
        waits = await self._store.waits(queues, limit=WAITS_KEPT)
        return {queue: percentiles(times) for queue, times in waits.items()}

    async def attached(self, job_id: str) -> None:
        """The files that a job waited for are there: it may be given out."""
        await self._store.set_attachments(job_id, Attachments.COMPLETE)
        self._signals.publish((QUEUE, job_topic(job_id)))

    async def expire(self) -> None:
        """Ends, or lets wait again, what lost agents had."""
        for lost in await self._store.expire(requeue=self._times.requeue_lost):
            job_id = lost.job.job_id
            log.warning(
                "agent %s was lost with a job", lost.agent, extra={"action": "agent_lease_expired", "job_id": job_id}
            )
            self._tails.settle(lost.job.attempt_id)
            self._signals.publish((QUEUE, EVENTS, job_topic(job_id), log_topic(lost.job.attempt_id)))
