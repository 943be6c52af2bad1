"""Lab queues: jobs that wait for the agents, or our own runners, that serve their queue.

A job of a queue is a `Job` like any other, with what its lab needs beside it: the definition as it was posted, the
agent that popped it, and the word that the agent last said of it. The label that it requires (`label_of`) keeps
ordinary runners away from it; see ADR 10.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from runner_service.domain.jobs import Job, JobState, Micros
from runner_service.domain.outcomes import Outcome, OutcomeKind

ORIGIN = "testflinger"
"""Of the jobs of queues: queues are Testflinger's, QueueService is their native face."""
PHASES = ("setup", "provision", "firmware_update", "test", "allocate", "reserve", "cleanup")
"""What an agent does with a job, in order."""
CLEANUP = "cleanup"
"""The phase that comes last however the others ended."""
SERIAL = "serial"
"""What reads the console of a device, and the output that comes from there."""
WAITING = "waiting"
RUNNING = "running"
COMPLETE = "complete"
CANCELLED = "cancelled"
ENDING_WORDS = frozenset({COMPLETE, "completed", CANCELLED})
"""Words of an agent after which nothing changes any more."""
ACTIVE_WORDS = (WAITING, RUNNING)
"""In a search: jobs that have neither ended nor been cancelled."""

_LABEL = "queue/"
_EXCLUDED = "!agent/"
SERVED = "yes"


def label_of(queue: str) -> str:
    """The label that a runner has for each queue that it serves, with the value `SERVED`."""
    return _LABEL + queue


def labels_for(queues: Sequence[str], agent: str = "") -> dict[str, str]:
    """The labels of who serves ``queues`` under the name ``agent``."""
    labels = {label_of(queue): SERVED for queue in queues}
    if agent:
        labels[_EXCLUDED[1:] + agent] = SERVED
    return labels


def requirement(queue: str, exclude_agents: Sequence[str]) -> dict[str, str]:
    """What a job of ``queue`` requires of a runner or agent."""
    return {label_of(queue): SERVED} | {_EXCLUDED + name: "" for name in exclude_agents}


def queues_of(labels: Mapping[str, str]) -> list[str]:
    """The queues that a runner with ``labels`` serves."""
    return sorted(name[len(_LABEL) :] for name in labels if name.startswith(_LABEL))


def word_of(state: JobState, cancelled: bool, phase: str) -> str:
    """How a job stands, in the lab's words. An accepted cancel shows at once."""
    if cancelled or state is JobState.CANCELLED:
        return CANCELLED
    if state in (JobState.QUEUED, JobState.ASSIGNED):
        return WAITING
    if state is JobState.RUNNING:
        return phase or RUNNING
    return phase if phase in ENDING_WORDS else COMPLETE


def states_of(words: Iterable[str]) -> set[JobState]:
    """The states that a job which stands so may be in."""
    found: set[JobState] = set()
    for word in words:
        if word == WAITING:
            found |= {JobState.QUEUED, JobState.ASSIGNED}
        elif word == CANCELLED:
            found |= {JobState.CANCELLED, JobState.RUNNING}
        elif word in ENDING_WORDS:
            found |= {state for state in JobState if state.terminal}
        else:
            found.add(JobState.RUNNING)
    return found


class Attachments(StrEnum):
    """Whether a job's attached files are there."""

    NONE = ""
    """It has none."""
    WAITING = "waiting"
    """They are to be uploaded; until then nobody gets the job."""
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueJob:
    """A job of a queue."""

    job: Job
    queue: str
    definition: str
    """JSON text of an object, as it was posted."""
    client_id: str = ""
    """Who submitted it; empty: nobody knows."""
    agent: str = ""
    """Who popped it; empty: nobody yet, one that gave no name, or a runner of our own."""
    phase: str = ""
    """The agent's last word, such as ``provision``; empty: none yet."""
    attachments: Attachments = Attachments.NONE
    popped_at: Micros | None = None
    peer: str = ""
    """Address that it was popped from; empty: nobody knows."""
    lease_until: Micros | None = None
    """When its agent counts as lost; None: nobody has it, or a runner of our own with a lease of its own."""

    @property
    def word(self) -> str:
        """How the job stands, in the lab's words."""
        return word_of(self.job.state, self.job.cancel is not None, self.phase)

    @property
    def attachments_id(self) -> str:
        """The artifact that its attached files are, or will be; empty: it has none."""
        return next((one.artifact_id for one in self.job.spec.inputs if one.path == ATTACHMENTS_PATH), "")

    @property
    def ended(self) -> bool:
        """Nothing that an agent says changes its state any more."""
        return self.word in ENDING_WORDS


@dataclass(frozen=True, slots=True, kw_only=True)
class PopRequest:
    """Who wants a job of which queues."""

    queues: tuple[str, ...]
    agent: str = ""
    lease_seconds: float | None = None
    """None: what the job says, for agents that never renew."""
    key: str = ""
    """Of a request that may be repeated: it pops one job."""
    peer: str = ""
    """Address of who asks, where later calls of the same agent are known by nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewQueueJob:
    """A job for a queue, checked."""

    job: Job
    queue: str
    definition: str
    client_id: str = ""
    attachments: Attachments = Attachments.NONE
    lease_seconds: float = 4 * 3600.0
    """How long an agent may say nothing."""
    give_back: bool = False
    """If there is such a job and an agent has it, it is the agent that posts it again: it waits for another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which jobs of queues; every condition that is set must hold."""

    tags: tuple[str, ...] = ()
    all_tags: bool = False
    """All of the tags, instead of any."""
    words: frozenset[str] = frozenset()
    """As `QueueJob.word`; empty: any. `RUNNING` stands for whatever word a job has while it runs."""
    queue: str = ""
    limit: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A job of a queue in a list."""

    job_id: str
    queue: str
    created_at: Micros
    word: str
    running: bool
    """It runs, and no cancel was accepted."""

    def matches(self, words: frozenset[str]) -> bool:
        """Tells whether a search for ``words`` finds it; see `Search.words`."""
        return not words or self.word in words or (self.running and RUNNING in words)


def agent_runner_id(agent: str) -> str:
    """What stands for an agent where a runner's id does."""
    return f"agent:{agent}"


def outcome_of(statuses: Mapping[str, int]) -> Outcome:
    """How a job ended whose phases returned these codes, for `Job.outcome`."""
    for index, phase in enumerate(PHASES):
        status = statuses.get(phase, 0)
        if status:
            # Agents have codes of their own beyond what a process can return.
            code = status if 0 < status <= 255 else 255
            return Outcome(kind=OutcomeKind.EXITED, exit_code=code, detail=phase, step=index)
    return Outcome(kind=OutcomeKind.EXITED, exit_code=0)


QUANTILES = (5, 10, 50, 90, 95)


def percentiles(values: Sequence[float]) -> dict[int, float]:
    """The `QUANTILES` of ``values`` by linear interpolation between the closest ranks; empty without values."""
    ordered = sorted(values)
    found: dict[int, float] = {}
    for percent in QUANTILES if ordered else ():
        rank = (len(ordered) - 1) * percent / 100
        below = int(rank)
        above = min(below + 1, len(ordered) - 1)
        found[percent] = ordered[below] + (ordered[above] - ordered[below]) * (rank - below)
    return found


class OutputKind(StrEnum):
    """Which output of a job."""

    OUTPUT = "output"
    SERIAL = SERIAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """A piece of output, as an agent posts it: unique by job, kind, phase and number."""

    number: int
    phase: str
    at: str
    """The agent's own time stamp, RFC 3339."""
    data: str


ATTACHMENTS_PATH = "attachments.tar.gz"
"""Where a job's attached files stand in its directory, as they were uploaded: the job's first input."""
OUTPUTS = "artifacts"
"""The directory that is kept of what a job leaves."""


class FileKind(StrEnum):
    """Which archive of a job."""

    ARTIFACT = "artifact"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabFile:
    """An archive in the blob store."""

    blob_key: str
    size: int
    sha256: str
    media_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabAgent:
    """What is known of an agent of a lab."""

    name: str
    state: str = ""
    queues: tuple[str, ...] = ()
    location: str = ""
    provision_type: str = ""
    job_id: str = ""
    identifier: str = ""
    comment: str = ""
    updated_at: Micros = 0
    streak_type: str = ""
    """``pass`` or ``fail``: how its last provisions ended."""
    streak_count: int = 0
    lost: bool = False
    """The lease of a job that it had ran out, and nothing was heard of it since."""
    client_id: str = ""
    """The credential that it was first seen with; empty: none."""
    log: tuple[str, ...] = field(default=())
    extra: str = "{}"
    """JSON text of an object: what it says of itself beyond these."""

    @property
    def shown_state(self) -> str:
        return "offline" if self.lost else self.state


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionLog:
    """How one provision ended."""

    job_id: str
    exit_code: int
    detail: str = ""
    at: Micros = 0
