"""Use cases of the registry: register, read, change, forget."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from runner_service.domain.errors import CredentialUntold, InvalidArgument
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import Job, Micros
from runner_service.domain.json_text import members_of, object_of, parse
from runner_service.domain.requests import MAX_NAME, MAX_TAGS
from runner_service.domain.runner_config import (
    MOST_JOBS,
    DockerConfig,
    ResourceLimits,
    RunnerConfig,
    merged,
)
from runner_service.domain.runners import (
    NOTHING_KNOWN,
    Resources,
    Runner,
    RunnerEvent,
    RunnerKind,
    RunnerProfile,
    RunnerState,
)
from runner_service.ports.clock import Clock
from runner_service.ports.signals import (
    EVENTS,
    QUEUE,
    RUNNERS,
    Signals,
    feed_topic,
    job_topic,
    runner_state_topic,
    runner_topic,
)
from runner_service.ports.store import Changed, Mark, RunnerFilter, RunnerPage, RunnerStore
from runner_service.services.runners.credentials import RunnerCredentials, digest_of, new_nonce

MAX_SLOTS = MOST_JOBS
MAX_METADATA = 64 * 1024
"""Characters of JSON."""
POLL_SECONDS = 30.0
"""A watcher looks at the store this often even when no hint comes; `Signals` caps it where hints can get lost."""
EVENTS_AT_ONCE = 500
_NOT_WRITABLE = ("registered_at", "last_seen")
"""Members of metadata that some APIs show there, and that only the service knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRunner:
    """A request to register a machine."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    slots: int = 1
    local: bool = False
    kind: RunnerKind = RunnerKind.NATIVE
    hosted: bool = False
    """No worker will come: a local runner executes its jobs."""
    host: str = ""
    port: int = 0
    capabilities: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    metadata: str = "{}"
    resources: Resources = NOTHING_KNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerUpdate:
    """What is to change; None stays."""

    name: str | None = None
    host: str | None = None
    port: int | None = None
    capabilities: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    metadata: str | None = None
    """A JSON object that is merged by member; null removes one."""
    resources: Mapping[str, float] | None = None
    """By member."""


class Runners:
    """The machines that jobs run on."""

    def __init__(self, *, store: RunnerStore, clock: Clock, signals: Signals, credentials: RunnerCredentials) -> None:
        self._store = store
        self._clock = clock
        self._signals = signals
        self._credentials = credentials

    async def register(self, request: NewRunner, *, mark: Mark | None = None) -> tuple[Runner, str]:
        """Stores a new runner and returns it with the credential of its worker, which is kept nowhere else, and told
        again only for the same ``mark``.

        Raises:
            InvalidArgument: Names the field.
            RunnerNotFound, CredentialUntold: The mark is known; the runner was deleted, or has another credential now.
        """
        _check_name(request.name)
        if len(request.labels) > MAX_TAGS:
            raise InvalidArgument(field="labels", problem=f"at most {MAX_TAGS} are taken")
        if not 1 <= request.slots <= MAX_SLOTS:
            raise InvalidArgument(field="slots", problem=f"give a number from 1 to {MAX_SLOTS}")
        _check(request.host, request.port, request.capabilities, request.tags, request.resources)
        metadata = {name: value for name, value in _members(request.metadata).items() if name not in _NOT_WRITABLE}
        runner_id, nonce = new_id(), new_nonce()
        config = _first_config(request.kind, hosted=request.hosted, asked=_most_jobs(metadata))
        runner = Runner(
            runner_id=runner_id,
            name=request.name,
            state=RunnerState.ACTIVE,
            registered_at=0,
            labels=request.labels,
            slots=request.slots,
            local=request.local,
            kind=RunnerKind.LOCAL if request.local and request.kind is RunnerKind.NATIVE else request.kind,
            hosted=request.hosted,
            most_jobs=config.max_concurrent_jobs,
        )
        profile = RunnerProfile(
            runner_id=runner_id,
            host=request.host,
            port=request.port,
            capabilities=tuple(dict.fromkeys(request.capabilities)),
            tags=tuple(dict.fromkeys(request.tags)),
            metadata=object_of(metadata),
            resources=request.resources,
            config=config,
        )
        registered, nonce = await self._store.register_once(
            runner,
            profile,
            digest=digest_of(self._credentials.derive(runner_id, nonce)),
            life_seconds=self._credentials.life_seconds,
            mark=mark,
            note=nonce,
        )
        credential = self._credentials.derive(registered.runner_id, nonce)
        if mark is not None and not await self._credentials.keeps(registered.runner_id, credential):
            raise CredentialUntold(of=f"runner {registered.runner_id}")
        self._signals.publish((RUNNERS,))
        return registered, credential

    async def get(self, runner_id: str) -> Runner:
        """Returns one runner. Raises `RunnerNotFound`."""
        return await self._store.get(runner_id)

    async def profile(self, runner_id: str) -> RunnerProfile:
        """Returns what was said about a runner. Raises `RunnerNotFound`."""
        return await self._store.profile(runner_id)

    async def list(self, *, limit: int, after: str = "") -> Sequence[Runner]:
        """Returns runners in order of name."""
        return await self._store.list(limit=limit, after=after)

    async def find(self, filter: RunnerFilter, *, limit: int, offset: int = 0) -> RunnerPage:
        """Returns runners in order of registration."""
        return await self._store.find(filter, limit=limit, offset=offset)

    def online(self, runner: Runner) -> bool:
        """Tells whether the server counts on it: its lease has not run out."""
        return runner.lease_until > self._clock.now()

    async def update(
        self, runner_id: str, update: RunnerUpdate, *, mark: Mark | None = None
    ) -> tuple[Runner, RunnerProfile]:
        """Changes what is said about a runner.

        Raises:
            RunnerNotFound: No such runner.
            InvalidArgument: Names the field.
        """
        if update.name is not None:
            _check_name(update.name)
        metadata = {} if update.metadata is None else _members(update.metadata)
        asked = _most_jobs(metadata)

        def change(runner: Runner, profile: RunnerProfile, now: Micros, active: int) -> Changed:
            resources = replace(profile.resources, **(update.resources or {}))
            after = replace(
                profile,
                host=profile.host if update.host is None else update.host,
                port=profile.port if update.port is None else update.port,
                capabilities=profile.capabilities if update.capabilities is None else update.capabilities,
                tags=profile.tags if update.tags is None else tuple(dict.fromkeys(update.tags)),
                metadata=_merged(profile.metadata, metadata),
                resources=resources,
            )
            _check(after.host, after.port, after.capabilities, after.tags, after.resources)
            if asked:
                after = replace(after, config=replace(after.config, max_concurrent_jobs=asked), config_at=now)
            named = replace(runner, name=update.name or runner.name, most_jobs=after.config.max_concurrent_jobs)
            different = named != runner or after != profile
            return Changed(runner=named, profile=after, events=(("updated", ""),) if different else ())

        return await self._change(runner_id, change, mark)

    async def update_config(
        self, runner_id: str, changes: Mapping[str, Any], *, mark: Mark | None = None
    ) -> RunnerConfig:
        """Lays ``changes`` (`domain.runner_config.merged`) over the configuration, and returns it whole. All of it
        holds at once: the number of jobs for what waits, the rest for jobs that are submitted from now on.

        Raises:
            RunnerNotFound: No such runner.
            InvalidArgument: Names the member.
        """

        def change(runner: Runner, profile: RunnerProfile, now: Micros, active: int) -> Changed:
            config = merged(profile.config, changes)
            if config == profile.config:
                return Changed(runner=runner, profile=profile)
            after = replace(profile, config=config, config_at=now)
            told = replace(runner, most_jobs=config.max_concurrent_jobs)
            return Changed(runner=told, profile=after, events=(("config", ", ".join(sorted(changes))),))

        _, profile = await self._change(runner_id, change, mark)
        return profile.config

    async def _change(self, runner_id: str, change: Any, mark: Mark | None) -> tuple[Runner, RunnerProfile]:
        changed = await self._store.change(runner_id, change, mark=mark)
        # More room may have been made: whoever may use it looks again.
        self._signals.publish((RUNNERS, QUEUE, runner_topic(runner_id), feed_topic(runner_id)))
        return changed

    async def delete(self, runner_id: str, *, force: bool, by: str = "", mark: Mark | None = None) -> Sequence[Job]:
        """Forgets a runner; with ``force`` its jobs are cancelled. Returns those. Raises as `RunnerStore.delete`."""
        cancelled = await self._store.delete(runner_id, force=force, by=by or "user", mark=mark)
        topics = [RUNNERS, QUEUE, EVENTS, runner_topic(runner_id), runner_state_topic(runner_id), feed_topic(runner_id)]
        for job in cancelled:
            topics += (job_topic(job.job_id), *((runner_topic(job.runner_id),) if job.runner_id else ()))
        self._signals.publish(topics)
        return cancelled

    async def watch(self, *, after: int = 0) -> AsyncIterator[RunnerEvent]:
        """Yields events of all runners behind ``after`` as they are committed; with 0 it begins with the present."""
        with self._signals.subscribe(RUNNERS) as waiter:
            after = after or await self._store.last_event()
            while True:
                events = await self._store.events(after=after, limit=EVENTS_AT_ONCE)
                for event in events:
                    yield event
                    after = event.sequence
                if not events:
                    await waiter.wait(POLL_SECONDS)


def _first_config(kind: RunnerKind, *, hosted: bool, asked: int) -> RunnerConfig:
    """The configuration of a fresh runner: the values of RustCI's document; a worker's, as many jobs as it wants."""
    docker = DockerConfig(privileged=False, network_mode="bridge", volumes=("/tmp:/tmp:rw",))
    return RunnerConfig(
        max_concurrent_jobs=asked or (5 if hosted else 0),
        job_timeout=3600,
        resource_limits=ResourceLimits(cpu_limit="2000m", memory_limit="4Gi", disk_limit="10Gi"),
        docker_config=docker if kind is RunnerKind.DOCKER else None,
    )


def _members(text: str) -> dict[str, str]:
    try:
        return members_of(text or "{}")
    except ValueError:
        raise InvalidArgument(field="metadata", problem="give a JSON object") from None


def _merged(before: str, changes: Mapping[str, str]) -> str:
    members = members_of(before)
    for name, value in changes.items():
        if name in _NOT_WRITABLE:
            continue
        if value == "null":
            members.pop(name, None)
        else:
            members[name] = value
    text = object_of(members)
    if len(text) > MAX_METADATA:
        raise InvalidArgument(field="metadata", problem=f"it is over {MAX_METADATA} characters")
    return text


def _most_jobs(metadata: Mapping[str, str]) -> int:
    """A limit that the metadata name, as some clients do; 0: none that can be meant."""
    value = parse(metadata.get("max_concurrent_jobs", "0"))
    return value if type(value) is int and 0 < value <= MOST_JOBS else 0


def _check_name(name: str) -> None:
    if not name or len(name) > MAX_NAME or "\0" in name:
        raise InvalidArgument(field="name", problem=f"give 1 to {MAX_NAME} characters, none of them NUL")


def _check(host: str, port: int, capabilities: Iterable[str], tags: Iterable[str], resources: Resources) -> None:
    if len(host) > MAX_NAME or "\0" in host:
        raise InvalidArgument(field="host", problem=f"give up to {MAX_NAME} characters")
    if not 0 <= port <= 65_535:
        raise InvalidArgument(field="port", problem="give a number from 0 to 65535")
    for title, words in (("capabilities", list(capabilities)), ("tags", list(tags))):
        if len(words) > MAX_TAGS:
            raise InvalidArgument(field=title, problem=f"at most {MAX_TAGS} are taken")
        if any(not word or len(word) > MAX_NAME or "\0" in word for word in words):
            raise InvalidArgument(field=title, problem=f"give words of 1 to {MAX_NAME} characters")
    for name in ("cpu_cores", "memory_gb", "disk_gb"):
        if not 0 <= getattr(resources, name) < 1e9:
            raise InvalidArgument(field=f"resources.{name}", problem="give a number of 0 or more")
