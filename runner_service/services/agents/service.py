"""Use cases of managed agents: make, read, list, watch, remove."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from runner_service.domain.agents import Agent, AgentStatus, AgentView
from runner_service.domain.containers import Container
from runner_service.domain.errors import (
    AgentNotFound,
    ImageNotFound,
    InvalidArgument,
    JobFinished,
    JobNotFound,
    RegistryUnavailable,
)
from runner_service.domain.images import ImageManifest, TaggedImage, raw_members
from runner_service.domain.jobs import JobKind, JobState, Stdin, Step
from runner_service.domain.outcomes import Outcome, OutcomeKind
from runner_service.domain.requests import MAX_NAME, MAX_TIMEOUT_SECONDS, NewJob
from runner_service.ports.signals import EVENTS, QUEUE, Signals, job_topic
from runner_service.ports.store import AgentStore, Mark
from runner_service.services.agents.links import AgentLinks
from runner_service.services.images import Images
from runner_service.services.images.pack import BLOCK_BYTES
from runner_service.services.jobs import Jobs

STATES_OF: Mapping[AgentStatus, frozenset[JobState]] = {
    AgentStatus.CREATING: frozenset({JobState.QUEUED, JobState.ASSIGNED}),
    AgentStatus.RUNNING: frozenset({JobState.RUNNING}),
    AgentStatus.STOPPED: frozenset({JobState.SUCCEEDED, JobState.CANCELLED}),
    AgentStatus.ERROR: frozenset({JobState.FAILED, JobState.TIMED_OUT, JobState.LOST}),
}
DEFAULT_NAME = "Agent"
DEFAULT_MODEL = "default-model"
WATCH_SECONDS = 0.25
"""Between two looks of a watcher: many moves in between are told as one."""
_POLL_SECONDS = 30.0

# Unpacks the files, which come first on standard input, in whole blocks, so that not a byte behind them is taken.
_UNPACK = 'dd bs="$1" count="$2" iflag=fullblock 2>/dev/null | tar -xf - && shift 2 && exec "$@"'


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAgent:
    """A request for an agent."""

    image: str
    name: str = ""
    """Empty: the member ``name`` of the parameters, else `DEFAULT_NAME`."""
    model: str = ""
    """Empty: the member ``model`` of the parameters, else the image's, else `DEFAULT_MODEL`."""
    parameters: str = "{}"
    """A JSON object as text: laid over the image's, member by member."""
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Variables that get the value of a secret of the service: variable to name of the secret."""
    required_labels: Mapping[str, str] = field(default_factory=dict)
    origin: str = "native"
    request_id: str = ""


class Agents:
    """Managed agents of every API."""

    def __init__(self, *, store: AgentStore, jobs: Jobs, images: Images, links: AgentLinks, signals: Signals) -> None:
        self._store = store
        self._jobs = jobs
        self._images = images
        self._links = links
        self._signals = signals

    async def create(self, request: NewAgent, *, by: str = "", patience: float = 0.0) -> AgentView:
        """Makes an agent and starts it. One whose image is not known, or cannot be started, is made all the same, with
        the status ERROR and a sentence that says why. With ``patience`` the answer waits so many seconds for the
        process to be there.

        Raises:
            InvalidArgument: Names the field.
            AlreadyExists, QueueFull, StorageFull, Unavailable: As `Jobs.create`.
        """
        if not request.image:
            raise InvalidArgument(field="image", problem="name the image")
        given = _parameters(request.parameters)
        found, problem = await self._find(request.image)
        manifest = found.image.manifest if found is not None else ImageManifest()
        agent = Agent(
            agent_id="",
            name=request.name or _word(given, "name") or DEFAULT_NAME,
            image=request.image,
            image_id=found.image.image_id if found is not None else "",
            manifest=manifest,
            model=request.model or _word(given, "model") or manifest.model or DEFAULT_MODEL,
            parameters=_write({**raw_members(manifest.parameters), **given}),
        )
        if len(agent.name) > MAX_NAME:
            raise InvalidArgument(field="name", problem=f"at most {MAX_NAME} characters are taken")
        job, fingerprint, limit = await self._jobs.draft(_job(request, agent), by=by)
        if problem:
            outcome = Outcome(kind=OutcomeKind.REFUSED, detail="IMAGE", message=problem)
            job = replace(job, state=JobState.FAILED, outcome=outcome)
        view = await self._store.create(
            replace(agent, agent_id=job.job_id), job, fingerprint=fingerprint, queue_limit=limit
        )
        self._signals.publish((QUEUE, EVENTS))
        if not view.job.state.terminal:
            self._links.of(view)
        return await self._started(view, patience)

    async def get(self, agent_id: str) -> AgentView:
        """Raises `AgentNotFound`."""
        return await self._store.get(agent_id)

    async def list(
        self, *, statuses: Collection[AgentStatus] = (), limit: int = 0, after: str = ""
    ) -> Sequence[AgentView]:
        """Agents, newest first; see `AgentStore.list`."""
        states = frozenset().union(*(STATES_OF[status] for status in statuses))
        return await self._store.list(states=states, limit=limit, after=after)

    async def delete(self, agent_id: str, *, by: str, mark: Mark | None = None) -> AgentView:
        """Stops an agent, its whole process tree, and takes it out of every list at once. Raises `AgentNotFound`, also
        the second time."""
        view = await self._store.get(agent_id)
        try:
            await self._jobs.cancel(agent_id, by=by, reason="the agent was deleted")
        except (JobFinished, JobNotFound):
            pass  # it has ended by itself
        await self._store.remove(agent_id, mark=mark)
        self._signals.publish((job_topic(agent_id), EVENTS))
        return view

    async def watch(self) -> AsyncIterator[tuple[Sequence[AgentView], Sequence[str]]]:
        """Yields the agents that are new or changed since the last time, first all of them, and the ids of those that
        are gone."""
        known: dict[str, AgentView] = {}
        first = True
        with self._signals.subscribe(EVENTS) as waiter:
            while True:
                now = {view.agent.agent_id: view for view in await self._store.list()}
                changed = [view for agent_id, view in now.items() if known.get(agent_id) != view]
                gone = [agent_id for agent_id in known if agent_id not in now]
                if changed or gone or first:
                    yield changed, gone
                known, first = now, False
                began = time.monotonic()
                await waiter.wait(_POLL_SECONDS)
                if (left := WATCH_SECONDS - (time.monotonic() - began)) > 0:
                    await asyncio.sleep(left)

    async def _find(self, reference: str) -> tuple[TaggedImage | None, str]:
        """The image, and why no agent can be started from it; empty: one can."""
        try:
            found = await self._images.resolve(reference)
        except ImageNotFound:
            return None, f"there is no image {reference}"
        except (RegistryUnavailable, InvalidArgument) as error:
            return None, error.message
        manifest = found.image.manifest
        if not manifest.entrypoint and not manifest.container:
            return found, f"the image {reference} names neither an entrypoint nor a container: it cannot be started"
        if not manifest.entrypoint and manifest.files:
            return found, f"the image {reference} has files and names no entrypoint to find them: it cannot be started"
        return found, ""

    async def _started(self, view: AgentView, patience: float) -> AgentView:
        deadline = time.monotonic() + patience
        with self._signals.subscribe(job_topic(view.agent.agent_id)) as waiter:
            while view.status is AgentStatus.CREATING and (left := deadline - time.monotonic()) > 0:
                await waiter.wait(left)
                try:
                    view = await self._store.get(view.agent.agent_id)
                except AgentNotFound:
                    return view  # removed as soon as it was made
        return view


def _job(request: NewAgent, agent: Agent) -> NewJob:
    manifest = agent.manifest
    environment = {
        **{name: value for name, value in manifest.environment.items() if name not in request.secrets},
        **request.environment,
        "RUNNER_AGENT_NAME": agent.name,
        "RUNNER_AGENT_MODEL": agent.model,
        "RUNNER_AGENT_PARAMETERS": agent.parameters,
    }
    argv = manifest.entrypoint or (() if manifest.container else ("false",))
    if manifest.files and argv:
        blocks = manifest.files_bytes // BLOCK_BYTES
        argv = ("/bin/sh", "-c", _UNPACK, "agent", str(BLOCK_BYTES), str(blocks), *argv)
    return NewJob(
        kind=JobKind.AGENT,
        origin=request.origin,
        stdin=Stdin.PIPE,
        steps=(Step(name=agent.name, argv=argv),),
        environment=environment,
        secrets=request.secrets,
        container=Container(image=manifest.container) if manifest.container else None,
        timeout_seconds=MAX_TIMEOUT_SECONDS,
        required_labels=request.required_labels,
        tags={"agent": agent.name, "image": agent.image},
        request_id=request.request_id,
    )


def _parameters(text: str) -> dict[str, str]:
    """The members of a JSON object as text, digit for digit."""
    try:
        return raw_members(text or "{}")
    except ValueError:
        raise InvalidArgument(field="parameters", problem="give a JSON object") from None


def _word(members: Mapping[str, str], name: str) -> str:
    value = json.loads(members[name]) if name in members else ""
    return value if isinstance(value, str) else ""


def _write(members: Mapping[str, str]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in members.items()) + "}"
