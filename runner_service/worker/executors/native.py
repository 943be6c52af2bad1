"""Runs attempts as processes of this machine, through the supervisor.

When the supervisor dies its jobs die with it. This executor starts another, which finds them on disk, and tells of
each what it says: LOST.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType

from runner_service.domain.inputs import InputRecord
from runner_service.domain.jobs import JobSpec
from runner_service.domain.logs import HEADER_BYTES, MAX_RECORD_BYTES, LogRecord, decode
from runner_service.worker.executors.base import (
    AttemptUnknown,
    Ended,
    Event,
    ExecutionState,
    ExecutorUnavailable,
    FenceMismatch,
    InputWritten,
    KillCause,
    KnownAttempt,
    Monotonic,
    OutputGrew,
    Started,
)
from runner_service.worker.supervisor import client, wire
from runner_service.worker.supervisor.client import Client, SupervisorGone, SupervisorRefused
from runner_service.worker.supervisor.launch import LaunchFailed, Options
from runner_service.worker.supervisor.paths import Layout
from runner_service.worker.supervisor.wire import Known, Message, Plan

_RETRY_SECONDS = 1.0
_STOP_SECONDS = 10.0
"""A supervisor whose jobs have ended, or were waited for, has no more to do than to exit."""
_log = logging.getLogger(__name__)
_LARGEST_FRAME = HEADER_BYTES + MAX_RECORD_BYTES


def plan(spec: JobSpec, environment: Mapping[str, str], secrets: Mapping[str, str], *, staged: str) -> Plan:
    """What the supervisor is to do for a job. One that asks for a container is refused there: see `docker`."""
    made = Plan(
        steps=[list(step.argv) or ["/bin/sh", "-c", step.script] for step in spec.steps],
        always=[index for index, step in enumerate(spec.steps) if step.always],
        environment={**environment, **secrets},
        secrets=list(secrets.values()),
        staged=staged,
        outputs=list(spec.outputs),
        working_directory=spec.working_directory,
        timeout_seconds=spec.timeout_seconds,
        kill_grace_seconds=spec.kill_grace_seconds,
        log_limit_bytes=spec.log_limit_bytes,
        stdin=spec.stdin.value,
        terminal=(spec.terminal_rows, spec.terminal_columns),
        idle_seconds=spec.idle_timeout_seconds,
        spool_policy=spec.spool_policy.value,
        cleanup=spec.cleanup.value,
        cpus=spec.limits.cpus,
        memory_bytes=spec.limits.memory_bytes,
        processes=spec.limits.processes,
        disk_bytes=spec.limits.disk_bytes,
    )
    return made if spec.container is None else made._replace(container={"image": spec.container.image})


class NativeExecutor:
    """An `Executor` over the supervisor of ``directory``."""

    _plan = staticmethod(plan)

    def __init__(self, directory: str, options: Options = Options()) -> None:  # noqa: B008  It is immutable.
        self._directory = directory
        self._layout = Layout(directory)
        self._options = options
        self._client: Client | None = None
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._known: set[str] = set()
        """Accepted or adopted, and not forgotten."""
        self._over: set[str] = set()
        """Of them, those whose end was told, by an event or by `adopt`."""
        self._prepared: set[str] = set()
        """Of whom there is, or was, a directory before the start."""
        self._journals: dict[str, int] = {}
        self._spool_id = ""
        self._watch: asyncio.Task[None] | None = None
        self._deadline: Monotonic | None = None
        self._reachable = asyncio.Event()
        self._replaced = False

    @property
    def spool_id(self) -> str:
        return self._spool_id

    async def labels(self) -> Mapping[str, str]:
        return {}

    async def adopt(self) -> Sequence[KnownAttempt]:
        if self._watch is None:
            known = await self._connect()
            # What an earlier worker had prepared and never started.
            await asyncio.to_thread(shutil.rmtree, self._layout.inputs, ignore_errors=True)
            self._watch = asyncio.create_task(self._keep_connected(), name="supervisor-watch")
        else:
            known = await (await self._connected()).hello()
        # Ends that were told after the list was made are here already: they came with the same read.
        self._known.update(one.attempt_id for one in known)
        self._over.update(one.attempt_id for one in known if one.state == wire.ENDED)
        return [_known_attempt(one) for one in known]

    async def prepare(self, attempt_id: str) -> str:
        path = self._layout.staging(attempt_id)

        def make() -> None:
            shutil.rmtree(path, ignore_errors=True)
            os.makedirs(path, 0o700)  # noqa: PTH103

        await asyncio.to_thread(make)
        self._prepared.add(attempt_id)
        return path

    def directory(self, attempt_id: str) -> str:
        path = self._layout.working_directory(attempt_id)
        return path if os.path.isdir(path) else ""  # noqa: PTH112

    async def start(
        self,
        attempt_id: str,
        fence: int,
        spec: JobSpec,
        environment: Mapping[str, str],
        *,
        secrets: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        supervisor = await self._connected()
        if attempt_id in self._over:
            return  # An earlier try of this had begun under a supervisor that died: its end is told as an event.
        self._known.add(attempt_id)
        try:
            planned = self._plan(spec, environment, secrets, staged=self._staged(attempt_id))
            await supervisor.start(attempt_id, fence, planned)
        except SupervisorGone:
            raise ExecutorUnavailable("the supervisor died") from None
        except SupervisorRefused as error:
            if error.code == wire.FENCE_MISMATCH:
                raise FenceMismatch(attempt_id) from None
            self._known.discard(attempt_id)
            raise ExecutorUnavailable(str(error)) from None

    async def events(self) -> AsyncIterator[Event]:
        while (event := await self._events.get()) is not None:
            yield event

    async def read_log(self, attempt_id: str, offset: int, limit: int) -> tuple[list[LogRecord], int]:
        # Straight from the page cache: handing it to a thread costs more than the read.
        fd = self._journal(attempt_id)
        journal = os.pread(fd, max(limit, _LARGEST_FRAME), offset) if fd >= 0 else b""
        records: list[LogRecord] = []
        used = 0
        for record, behind in decode(journal):
            if records and behind > limit:
                break
            records.append(record)
            used = behind
        return records, offset + used

    async def acknowledge(self, attempt_id: str, offset: int) -> None:
        await self._ask(lambda supervisor: supervisor.acked(attempt_id, offset))

    async def feed(self, attempt_id: str, offset: int, records: Sequence[InputRecord]) -> int | None:
        try:
            received = await (await self._connected()).input(attempt_id, offset, records)
        except SupervisorGone:
            return None
        return None if received < 0 else received

    async def kill(self, attempt_id: str, cause: KillCause, detail: str = "") -> None:
        await self._ask(lambda supervisor: supervisor.kill(attempt_id, cause.value, detail))

    async def hurry(self) -> None:
        await self._ask(lambda supervisor: supervisor.hurry())

    async def forget(self, attempt_id: str) -> None:
        if attempt_id in self._known and attempt_id not in self._over:
            return
        self._known.discard(attempt_id)
        self._over.discard(attempt_id)
        if attempt_id in self._prepared:
            self._prepared.discard(attempt_id)
            await asyncio.to_thread(shutil.rmtree, self._layout.staging(attempt_id), ignore_errors=True)
        fd = self._journals.pop(attempt_id, -1)
        if fd >= 0:
            os.close(fd)
        await self._ask(lambda supervisor: supervisor.forget(attempt_id))

    async def set_deadline(self, deadline: Monotonic | None, attempt_id: str | None = None) -> None:
        at_ns = None if deadline is None else int(deadline * 1_000_000_000)
        if attempt_id is None:
            self._deadline = deadline
        await self._ask(lambda supervisor: supervisor.deadline(at_ns, attempt_id))

    async def close(self, *, stop: bool = False) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait((self._watch,))
            self._watch = None
        supervisor, self._client = self._client, None
        if supervisor is not None:
            if stop:
                try:
                    async with asyncio.timeout(_STOP_SECONDS):
                        await supervisor.end()
                except TimeoutError:  # E.g. its disk is full. It ends by itself once it can write down what it knows.
                    _log.error("The supervisor does not end yet.", extra={"action": "supervisor_stays"})
            await supervisor.close()
        while self._journals:
            os.close(self._journals.popitem()[1])
        self._events.put_nowait(None)

    async def _connected(self) -> Client:
        """The supervisor, when need be after the one that is being started in place of a dead one."""
        if not self._reachable.is_set() and self._watch is not None:
            await self._reachable.wait()
        if self._client is None:
            raise ExecutorUnavailable("adopt comes first and close last, and a newer worker takes all")
        return self._client

    def _staged(self, attempt_id: str) -> str:
        return self._layout.staging(attempt_id) if attempt_id in self._prepared else ""

    async def _ask(self, request: Callable[[Client], Awaitable[None]]) -> None:
        """For requests that have no point any more when the supervisor dies meanwhile: its attempts are over then."""
        try:
            await request(await self._connected())
        except SupervisorGone:
            pass

    async def _connect(self) -> list[Known]:
        try:
            supervisor, known = await Client.meet(self._directory, self._on_event, self._options)
        except (LaunchFailed, SupervisorGone, SupervisorRefused, OSError) as error:
            raise ExecutorUnavailable(str(error) or type(error).__name__) from None
        self._client, self._spool_id = supervisor, supervisor.spool_id
        self._reachable.set()
        return known

    async def _keep_connected(self) -> None:
        """Puts another supervisor in the place of one that died, until a newer worker takes over or this one closes."""
        while self._client is not None:
            await asyncio.wait((self._client.lost,))
            self._client, self._reachable = None, asyncio.Event()
            if self._replaced:
                self._reachable.set()
                self._events.put_nowait(None)
                return
            while True:
                try:
                    known = await self._connect()
                    break
                except ExecutorUnavailable as error:
                    _log.error("The supervisor died. %s", error, extra={"action": "supervisor_unavailable"})
                    await asyncio.sleep(_RETRY_SECONDS)
            await self._resume({one.attempt_id: one for one in known})

    async def _resume(self, known: Mapping[str, Known]) -> None:
        # Before anything else gets a turn: what is started from now on is not in the list, and yet there.
        unsure = self._known - self._over
        if self._deadline is not None:
            await self.set_deadline(self._deadline)
        for attempt_id in unsure - self._over:
            one = known.get(attempt_id)
            if one is None:  # Its start was never answered, and never happened.
                self._known.discard(attempt_id)
            elif one.state == wire.ENDED:
                self._ended(attempt_id, one.outcome, one.size, one.seal)
            else:
                self._events.put_nowait(OutputGrew(attempt_id=attempt_id, log_bytes=one.size))

    def _on_event(self, event: Message) -> None:
        match event["event"]:
            case "output":
                for attempt_id, size in event["sizes"].items():
                    self._events.put_nowait(OutputGrew(attempt_id=attempt_id, log_bytes=size))
            case "started":
                self._events.put_nowait(Started(attempt_id=event["attempt_id"], at=event["at_us"], pid=event["pid"]))
            case "input":
                for attempt_id, written in event["written"].items():
                    self._events.put_nowait(InputWritten(attempt_id=attempt_id, written=written))
            case "replaced":
                self._replaced = True
            case "ended":
                self._ended(event["attempt_id"], event["outcome"], event["size"], event["seal"])

    def _ended(self, attempt_id: str, outcome: Message | None, size: int, seal: Message | None) -> None:
        if attempt_id not in self._over and outcome is not None and seal is not None:
            self._over.add(attempt_id)
            self._events.put_nowait(
                Ended(
                    attempt_id=attempt_id,
                    outcome=client.outcome(outcome),
                    log_bytes=size,
                    seal=client.seal(seal),
                )
            )

    def _journal(self, attempt_id: str) -> int:
        """The open journal; -1 when there is no output yet."""
        fd = self._journals.get(attempt_id, -1)
        if fd < 0:
            if attempt_id not in self._known:
                raise AttemptUnknown(attempt_id)
            try:
                fd = os.open(self._layout.journal(attempt_id), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return -1
            self._journals[attempt_id] = fd
        return fd


def _known_attempt(known: Known) -> KnownAttempt:
    return KnownAttempt(
        attempt_id=known.attempt_id,
        fence=known.fence,
        state=ExecutionState(known.state),
        log_bytes=known.size,
        log_base=known.base,
        log_base_sequence=known.base_sequence,
        input_received=None if known.input_received < 0 else known.input_received,
        input_written=known.input_written,
        outputs=known.outputs,
        outcome=None if known.outcome is None else client.outcome(known.outcome),
        seal=None if known.seal is None else client.seal(known.seal),
    )
