"""The one reader of an agent's output on this server: hands lines to the chats that wait for them, and records what
the agent did."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from runner_service.domain.agent_lines import AgentLine, LineKind, read_line, read_message_ref, read_tool_ref
from runner_service.domain.agents import AgentFinding, AgentNote, AgentView
from runner_service.domain.errors import AgentNotFound, JobFinished, JobNotFound, ResourceExhausted, RunnerError
from runner_service.domain.jobs import Job
from runner_service.domain.logs import LogPosition, LogStream, write_cursor
from runner_service.ports.signals import EVENTS, Signals, job_topic
from runner_service.ports.store import AgentStore
from runner_service.services.agents.output import LineSplitter, OutputLine
from runner_service.services.agents.ports import Stdin
from runner_service.services.logs import LogBatch, LogReader

log = logging.getLogger(__name__)

MAX_WAITING_LINES = 1_000
"""For an agent that does not read."""
RETRY_SECONDS = 1.0
"""After the store has failed us."""


class Listener(Protocol):
    """A chat, as the link sees it. Called on the event loop, in the order of the output; must not block."""

    def heard(self, line: AgentLine) -> None:
        """A line that answers to what this listener asked for."""
        ...

    def overheard(self, line: AgentLine) -> None:
        """A line of nonsense, which may have been meant for it."""
        ...

    def ended(self, job: Job) -> None:
        """The agent's process is over: no line will follow."""
        ...


class AgentLink:
    """Reads one agent. Made by `AgentLinks`, which runs it until the agent is over."""

    def __init__(
        self,
        view: AgentView,
        *,
        store: AgentStore,
        reader: LogReader,
        stdin: Stdin,
        signals: Signals,
        package: Callable[[], asyncio.Future[bytes]],
    ) -> None:
        """``package``: gets what has to be on the agent's input before anything else."""
        self.agent_id = view.agent.agent_id
        self._name = view.agent.name
        self._store = store
        self._reader = reader
        self._stdin = stdin
        self._signals = signals
        self._package = package
        self._place = view.agent.read_to
        self._subjects: dict[str, Listener] = {}
        self._listeners: dict[Listener, None] = {}
        self._findings: list[AgentFinding] = []
        """Not recorded yet."""
        self._outbox: asyncio.Queue[tuple[bytes, asyncio.Future[None]]] = asyncio.Queue(MAX_WAITING_LINES)
        self._over = False
        """Nobody takes anything out of it any more."""

    # for chats

    def join(self, listener: Listener) -> None:
        self._listeners[listener] = None

    def leave(self, listener: Listener) -> None:
        self._listeners.pop(listener, None)
        for subject in [subject for subject, each in self._subjects.items() if each is listener]:
            del self._subjects[subject]

    def expect(self, subject: str, listener: Listener) -> None:
        """From now on lines that answer to ``subject`` are the listener's."""
        self._subjects[subject] = listener

    def settle(self, subject: str) -> None:
        """Nothing more is expected of ``subject``: what still comes is passed over."""
        self._subjects.pop(subject, None)

    async def send(self, line: bytes) -> None:
        """Puts a line on the agent's input, behind its files and what was sent before. One that is under way goes on
        when the caller is cancelled: half a line would spoil the next.

        Raises:
            JobFinished, StorageFull: It is not on its way, or nobody knows: the agent is over.
            ResourceExhausted: The agent does not read, and too many lines wait for it.
        """
        if self._over:
            raise self._finished()
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            self._outbox.put_nowait((line, sent))
        except asyncio.QueueFull:
            raise ResourceExhausted("The agent does not read what it is sent. Try again later.") from None
        await sent

    # for AgentLinks

    async def run(self) -> None:
        """Reads until the agent is over. What fails is logged and tried again."""
        sending = asyncio.create_task(self._send_all())
        try:
            while True:
                try:
                    self._finish(await self._read())
                    return
                except JobNotFound:
                    return  # gone for its age
                except Exception:
                    log.exception(
                        "cannot read the output of agent %s, trying again",
                        self.agent_id,
                        extra={"action": "agent_unreadable", "agent_id": self.agent_id},
                    )
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            sending.cancel()
            self._over = True
            while not self._outbox.empty():
                _, sent = self._outbox.get_nowait()
                if not sent.done():
                    sent.set_exception(self._finished())

    def _finished(self) -> JobFinished:
        return JobFinished(job_id=self.agent_id, state="over")

    async def _send_all(self) -> None:
        """One line after the other: each is whole on the input before the next begins."""
        await self._deliver()
        while True:
            line, sent = await self._outbox.get()
            try:
                await self._stdin.append(self.agent_id, line)
            except asyncio.CancelledError:
                if not sent.done():
                    sent.set_exception(self._finished())
                raise
            except Exception as error:
                if not isinstance(error, RunnerError):
                    log.exception("cannot write to agent %s", self.agent_id, extra={"action": "agent_unwritable"})
                if not sent.done():
                    sent.set_exception(error if isinstance(error, RunnerError) else RunnerError())
            else:
                if not sent.done():
                    sent.set_result(None)

    async def _deliver(self) -> None:
        """Puts the files of the image at the start of the input. Safe to do again: it names the place."""
        while True:
            try:
                package = await self._package()
                if package:
                    await self._stdin.append(self.agent_id, package, at=0)
                return
            except (JobFinished, JobNotFound):
                return
            except RunnerError as error:
                log.warning(
                    "cannot give agent %s its files, trying again: %s",
                    self.agent_id,
                    error,
                    extra={"action": "agent_files_failed", "agent_id": self.agent_id},
                )
                await asyncio.sleep(RETRY_SECONDS)

    async def _read(self) -> Job:
        await self._record()
        splitter = LineSplitter(self._place)
        cursor = write_cursor(self._place) if self._place.attempt_id else ""
        async for batch in self._reader.read(self.agent_id, cursor=cursor, follow=True, streams={LogStream.STDOUT}):
            if not isinstance(batch, LogBatch):
                return batch.job
            lines = [line for record in batch.records for line in splitter.feed(batch.attempt_id, record)]
            self._take(lines)
            await self._record()
        raise AssertionError("a read ends with LogEnd")

    def _take(self, lines: Sequence[OutputLine]) -> None:
        for output in lines:
            self._place = output.behind
            line = read_line(output.data)
            if line is None:
                continue
            self._hand_on(line)
            finding = self._finding(line, output.behind)
            if finding is not None:
                self._findings.append(finding)

    async def _record(self) -> None:
        """Keeps what was found. What could not be kept stays for the next time."""
        findings = list(self._findings)
        try:
            fresh = bool(findings) and await self._store.record(self.agent_id, findings)
        except AgentNotFound:
            fresh = False  # it was removed: nobody counts any more, but who waits for it is to hear of its end
        del self._findings[: len(findings)]
        if fresh:
            self._signals.publish((job_topic(self.agent_id), EVENTS))

    def _hand_on(self, line: AgentLine) -> None:
        if line.kind is LineKind.NONSENSE:
            for listener in tuple(self._listeners):
                listener.overheard(line)
        elif (found := self._subjects.get(line.subject)) is not None:
            found.heard(line)

    def _finding(self, line: AgentLine, behind: LogPosition) -> AgentFinding | None:
        """What the line is for counts and events; ``None``: nothing."""
        data: dict[str, object] = {"agent_id": self.agent_id}
        if line.kind is LineKind.USAGE:
            return AgentFinding(behind=behind, tokens=line.tokens)
        if line.kind is LineKind.END:
            ref = read_message_ref(line.subject)
            data |= {"message_id": ref.message_id, "response_id": ref.response_id}
            note = AgentNote(kind="message_processed", content=f"Agent {self._name} processed a message", data=data)
            return AgentFinding(behind=behind, note=note, requests=1)
        if line.kind is LineKind.TOOL_RESULT:
            tool = read_tool_ref(line.subject)
            data |= {"tool": tool.tool, "request_id": tool.request_id}
            note = AgentNote(kind="tool_used", content=f"Agent {self._name} used tool: {tool.tool}", data=data)
            return AgentFinding(behind=behind, note=note, requests=1)
        if line.kind is LineKind.ERROR:
            data["error"] = line.content
            note = AgentNote(kind="error", content=f"Agent {self._name} reports an error", data=data)
            return AgentFinding(behind=behind, note=note, requests=int(bool(line.subject)))
        if line.kind is LineKind.EVENT:
            note = AgentNote(kind=line.event_type, content=line.content, data={**line.data, **data})
            return AgentFinding(behind=behind, note=note)
        return None

    def _finish(self, job: Job) -> None:
        for listener in tuple(self._listeners):
            listener.ended(job)
