"""A chat: what its client says goes to the agent, what the agent answers comes back as frames in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from runner_service.domain.agent_lines import (
    AgentLine,
    LineKind,
    MessageRef,
    ToolRef,
    write_close,
    write_message,
    write_tool_request,
)
from runner_service.domain.agents import AgentStatus, AgentView, explain, status_of_state
from runner_service.domain.chats import ChatFrame, FrameKind
from runner_service.domain.errors import (
    AgentNotRunning,
    AgentSilent,
    JobFinished,
    ResourceExhausted,
    RunnerError,
    ToolNotFound,
)
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import Job
from runner_service.ports.clock import Clock
from runner_service.ports.signals import Signals, job_topic
from runner_service.ports.store import AgentStore
from runner_service.services.agents.link import AgentLink
from runner_service.services.agents.links import AgentLinks

MAX_WAITING_FRAMES = 10_000
"""For a client that reads too slowly; beyond, its chat ends."""
_POLL_SECONDS = 30.0


@dataclass(slots=True)
class _Message:
    """A message that the agent has not answered to the end."""

    ref: MessageRef
    stream: bool
    silence: asyncio.TimerHandle | None = None
    parts: list[str] = field(default_factory=list)
    told: bool = False
    """Nonsense was shown while it was waited for."""


@dataclass(slots=True)
class _ToolCall:
    ref: ToolRef
    silence: asyncio.TimerHandle | None = None


class Chats:
    """Opens chats with agents."""

    def __init__(
        self, *, store: AgentStore, links: AgentLinks, signals: Signals, clock: Clock, silence_seconds: float
    ) -> None:
        self._store = store
        self._links = links
        self._signals = signals
        self._clock = clock
        self._silence_seconds = silence_seconds

    @asynccontextmanager
    async def open(self, agent_id: str) -> AsyncIterator[Chat]:
        """A chat that ends with the context. Its first frame says how the agent is. Raises `AgentNotFound`."""
        view = await self._store.get(agent_id)
        link = None if view.job.state.terminal else self._links.of(view)
        chat = Chat(
            view,
            link,
            store=self._store,
            signals=self._signals,
            clock=self._clock,
            silence_seconds=self._silence_seconds,
        )
        if link is not None:
            link.join(chat)
        try:
            yield chat
        finally:
            await chat.close()


class Chat:
    """One client's talk with one agent. It sees the answers to its own messages alone."""

    def __init__(
        self,
        view: AgentView,
        link: AgentLink | None,
        *,
        store: AgentStore,
        signals: Signals,
        clock: Clock,
        silence_seconds: float,
    ) -> None:
        self._view = view
        self._link = link
        self._store = store
        self._signals = signals
        self._clock = clock
        self._silence_seconds = silence_seconds
        self._chat_id = new_id()
        self._spoken = False
        self._frames: asyncio.Queue[ChatFrame | None] = asyncio.Queue()
        self._overflow = False
        self._finishing = False
        self._messages: dict[str, _Message] = {}
        self._tools: dict[str, _ToolCall] = {}
        # What is said goes out in the order in which it was said, also when the agent is not ready yet.
        self._turn = asyncio.Lock()
        self._sending: set[asyncio.Task[None]] = set()
        agent = view.agent
        data = {"agent_id": agent.agent_id, "agent_name": agent.name, "status": view.status.value}
        self._show_event("connection_established", f"Connected to agent {agent.name} ({agent.agent_id})", data=data)

    async def frames(self) -> AsyncIterator[ChatFrame]:
        """Yields what the client is to see, until the chat is closed.

        Raises:
            ResourceExhausted: The client reads too slowly.
        """
        while (frame := await self._frames.get()) is not None:
            yield frame
            if self._overflow:
                raise ResourceExhausted("The client reads too slowly: the chat ends here.")

    def say(self, content: str, *, message_id: str = "", stream: bool = True) -> None:
        """Takes a message. Its answer comes as a stream of frames, or as one; what goes wrong is a frame too."""
        ref = MessageRef(new_id(), message_id or new_id())
        self._show_event("thinking", "Agent is processing your message...", message_id=ref.message_id)
        message = self._messages[ref.encode()] = _Message(ref, stream)
        self._wait_for(ref.encode(), message)
        self._start(ref.encode(), write_message(ref, chat_id=self._chat_id, content=content))

    def use_tool(self, tool: str, parameters: Any, *, request_id: str = "") -> None:
        """Takes a tool request. Its result is one frame, whatever becomes of it."""
        ref = ToolRef(new_id(), tool, request_id or new_id())
        call = self._tools[ref.encode()] = _ToolCall(ref)
        if not self._view.agent.manifest.has_tool(tool):
            known = ", ".join(each.name for each in self._view.agent.manifest.tools) or "none"
            self._fail(ref.encode(), ToolNotFound(tool=tool, known=known).message)
            return
        self._wait_for(ref.encode(), call)
        self._start(ref.encode(), write_tool_request(ref, chat_id=self._chat_id, parameters=parameters))

    def refuse(self, error: str, *, message_id: str = "") -> None:
        """Shows that something of the client's could not be taken."""
        self._show(ChatFrame(kind=FrameKind.ERROR, at=self._clock.now(), message_id=message_id, error=error))

    def finish(self) -> None:
        """The client says nothing more: the chat ends when what it asked for is answered."""
        self._finishing = True
        self._end_if_finished()

    async def close(self) -> None:
        """Ends the chat. May be called twice."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        for subject in (*self._messages, *self._tools):
            self._settle(subject)
        if self._link is not None:
            self._link.leave(self)
            if self._spoken:
                self._spoken = False
                try:
                    await asyncio.wait_for(self._link.send(write_close(self._chat_id)), timeout=1)
                except (RunnerError, TimeoutError, asyncio.CancelledError):
                    pass  # an agent that is over, or does not read, need not know

    # from the link

    def heard(self, line: AgentLine) -> None:
        """See `Listener.heard`."""
        message, call = self._messages.get(line.subject), self._tools.get(line.subject)
        if message is not None:
            self._wait_for(line.subject, message)
            if line.kind is LineKind.CHUNK:
                self._chunk(message, line.content)
            elif line.kind is LineKind.END:
                self._end(line.subject, message, line)
            elif line.kind is LineKind.EVENT:
                self._show_event(line.event_type, line.content, message_id=message.ref.message_id, data=line.data)
            elif line.kind is LineKind.ERROR:
                self._fail(line.subject, line.content)
        elif call is not None and line.kind is LineKind.TOOL_RESULT:
            self._settle(line.subject)
            self._show_tool(call.ref, ok=True, data={"result": line.result})
            self._end_if_finished()
        elif call is not None and line.kind is LineKind.ERROR:
            self._fail(line.subject, line.content)

    def overheard(self, line: AgentLine) -> None:
        """See `Listener.overheard`."""
        waiting = [message for message in self._messages.values() if not message.told]
        for message in waiting:
            message.told = True
        if waiting:
            self.refuse(f"The agent wrote a line that is not of the protocol: {line.content[:200]}")

    def ended(self, job: Job) -> None:
        """See `Listener.ended`."""
        problem = explain(job.outcome)
        for subject in (*self._messages, *self._tools):
            self._fail(subject, f"The agent ended before it answered: {problem}")
        agent, status = self._view.agent, status_of_state(job.state)
        data = {"agent_id": agent.agent_id, "agent_name": agent.name, "status": status.value}
        self._show_event("agent_status", f"Agent {agent.name} is {status.value}", data=data)

    # inside

    def _start(self, subject: str, line: bytes) -> None:
        task = asyncio.create_task(self._send(subject, line))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, subject: str, line: bytes) -> None:
        try:
            async with self._turn:
                link = await self._ready()
                link.expect(subject, self)
                self._spoken = True
                await link.send(line)
        except JobFinished:
            self._fail(subject, "The agent has ended and answers nothing.")
        except RunnerError as error:
            self._fail(subject, error.message)

    async def _ready(self) -> AgentLink:
        """The link once the process is there. Raises `AgentNotRunning`."""
        agent_id = self._view.agent.agent_id
        with self._signals.subscribe(job_topic(agent_id)) as waiter:
            while True:
                view = await self._store.get(agent_id)
                if view.status is AgentStatus.RUNNING and self._link is not None:
                    return self._link
                if view.status is not AgentStatus.CREATING or self._link is None:
                    raise AgentNotRunning(agent_id=agent_id, problem=view.problem or view.status.value)
                await waiter.wait(_POLL_SECONDS)

    def _wait_for(self, subject: str, pending: _Message | _ToolCall) -> None:
        """The agent has some time from now on."""
        if pending.silence is not None:
            pending.silence.cancel()
        loop = asyncio.get_running_loop()
        pending.silence = loop.call_later(self._silence_seconds, self._silent, subject)

    def _silent(self, subject: str) -> None:
        self._fail(subject, AgentSilent(seconds=f"{self._silence_seconds:g}").message)

    def _chunk(self, message: _Message, content: str) -> None:
        ref = message.ref
        if message.stream:
            if not message.parts:
                self._show_answer(FrameKind.STREAM_START, ref)
            self._show_answer(FrameKind.STREAM_CHUNK, ref, content=content, chunk_index=len(message.parts))
        message.parts.append(content)

    def _end(self, subject: str, message: _Message, line: AgentLine) -> None:
        if line.content:
            self._chunk(message, line.content)
        elif message.stream and not message.parts:
            self._show_answer(FrameKind.STREAM_START, message.ref)
        self._settle(subject)
        kind = FrameKind.STREAM_END if message.stream else FrameKind.RESPONSE
        self._show_answer(kind, message.ref, content="".join(message.parts), tools_used=line.tools_used)
        self._end_if_finished()

    def _fail(self, subject: str, error: str) -> None:
        message, call = self._messages.get(subject), self._tools.get(subject)
        self._settle(subject)
        if message is not None:
            self.refuse(error, message_id=message.ref.message_id)
        elif call is not None:
            self._show_tool(call.ref, ok=False, data={"error": error})
        self._end_if_finished()

    def _settle(self, subject: str) -> None:
        pending = self._messages.pop(subject, None) or self._tools.pop(subject, None)
        if pending is not None and pending.silence is not None:
            pending.silence.cancel()
        if self._link is not None:
            self._link.settle(subject)

    def _end_if_finished(self) -> None:
        if self._finishing and not self._messages and not self._tools:
            self._frames.put_nowait(None)

    def _show_answer(self, kind: FrameKind, ref: MessageRef, **members: Any) -> None:
        self._show(
            ChatFrame(
                kind=kind, at=self._clock.now(), message_id=ref.message_id, response_id=ref.response_id, **members
            )
        )

    def _show_tool(self, ref: ToolRef, *, ok: bool, data: dict[str, Any]) -> None:
        frame = ChatFrame(kind=FrameKind.TOOL_RESULT, at=self._clock.now(), request_id=ref.request_id, ok=ok, data=data)
        self._show(frame)

    def _show_event(self, event_type: str, content: str, *, message_id: str = "", data: Any = None) -> None:
        self._show(
            ChatFrame(
                kind=FrameKind.EVENT,
                at=self._clock.now(),
                event_type=event_type,
                message_id=message_id,
                content=content,
                data=data or {},
            )
        )

    def _show(self, frame: ChatFrame) -> None:
        if self._frames.qsize() >= MAX_WAITING_FRAMES:
            self._overflow = True
            return
        self._frames.put_nowait(frame)
