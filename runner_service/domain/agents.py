"""Managed agents: processes made from images, which people chat with. Each is a job of kind AGENT with the same id."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from runner_service.domain.images import ImageManifest
from runner_service.domain.jobs import Job, JobState, Micros
from runner_service.domain.logs import LogPosition
from runner_service.domain.outcomes import Outcome, OutcomeKind

AGENT_EVENT = "agent."
"""Begins the kind of every event that is of an agent and no move of its job; ``detail`` is then a JSON object."""


NOTHING_READ = LogPosition("")


class AgentStatus(StrEnum):
    """How an agent stands: the state of its process, in the words of its own API."""

    CREATING = "creating"
    RUNNING = "running"
    STOPPED = "stopped"
    ERROR = "error"


_STATUS: Mapping[JobState, AgentStatus] = {
    JobState.QUEUED: AgentStatus.CREATING,
    JobState.ASSIGNED: AgentStatus.CREATING,
    JobState.RUNNING: AgentStatus.RUNNING,
    JobState.SUCCEEDED: AgentStatus.STOPPED,
    JobState.CANCELLED: AgentStatus.STOPPED,
    JobState.FAILED: AgentStatus.ERROR,
    JobState.TIMED_OUT: AgentStatus.ERROR,
    JobState.LOST: AgentStatus.ERROR,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent, and how much it has done."""

    agent_id: str
    """Of its job too."""
    name: str
    image: str
    """The reference that was asked for."""
    image_id: str = ""
    """Empty: no image of that name was known, and nothing was started."""
    manifest: ImageManifest = field(default_factory=ImageManifest)
    """Of the image, as it was when the agent was made."""
    model: str = ""
    parameters: str = "{}"
    """A JSON object as text, digit for digit: the image's, overlaid with those that were asked for."""
    created_at: Micros = 0
    requests: int = 0
    """Messages and tool requests that it has answered."""
    tokens: int = 0
    """What it says to have used."""
    memory_bytes: int = 0
    """Resident memory of its processes, as its runner measured it last; 0: not measured yet."""
    read_to: LogPosition = NOTHING_READ
    """Its output up to here is in the counts and events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentView:
    """An agent with its job, which knows how its process is."""

    agent: Agent
    job: Job

    @property
    def status(self) -> AgentStatus:
        return _STATUS[self.job.state]

    @property
    def problem(self) -> str:
        """Why it failed; empty unless its status is ERROR."""
        return explain(self.job.outcome) if self.status is AgentStatus.ERROR else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentNote:
    """Something that an agent did, for the log of events."""

    kind: str
    """``message_processed``, ``tool_used``, ``error`` or a word of the agent's own."""
    content: str
    data: Mapping[str, Any]
    """What goes through JSON unchanged."""

    def detail(self) -> str:
        return json.dumps({"content": self.content, "data": dict(self.data)}, separators=(",", ":"))


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFinding:
    """What a line of an agent's output means for its counts and events."""

    behind: LogPosition
    """Where the output goes on behind the line."""
    note: AgentNote | None = None
    requests: int = 0
    tokens: int = 0


def read_note(kind: str, detail: str) -> AgentNote:
    """The note in an event whose kind begins with `AGENT_EVENT`."""
    value = json.loads(detail)
    return AgentNote(kind=kind.removeprefix(AGENT_EVENT), content=value["content"], data=value["data"])


def status_of_state(state: JobState) -> AgentStatus:
    return _STATUS[state]


def explain(outcome: Outcome | None) -> str:
    """One sentence part on how a process ended."""
    if outcome is None:
        return "it ended"
    match outcome.kind:
        case OutcomeKind.EXITED:
            return f"exit code {outcome.exit_code}"
        case OutcomeKind.SIGNALED:
            return f"killed by signal {outcome.signal}"
        case OutcomeKind.OUT_OF_MEMORY:
            return "out of memory"
        case OutcomeKind.OUT_OF_DISK:
            return "too much on disk"
        case OutcomeKind.TIMED_OUT:
            return "its time was over"
        case OutcomeKind.CANCELLED:
            return "stopped"
        case OutcomeKind.LOST | OutcomeKind.REFUSED | OutcomeKind.INFRASTRUCTURE:
            return outcome.message or outcome.detail or outcome.kind.lower()
