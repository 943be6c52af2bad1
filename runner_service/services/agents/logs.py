"""The log of an agent for people: what it wrote beside the protocol, and how its process fared."""

from __future__ import annotations

import heapq
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from runner_service.domain.agent_lines import LineKind, read_line
from runner_service.domain.agents import AGENT_EVENT, AgentView, explain, read_note
from runner_service.domain.jobs import JobEvent, JobState, Micros
from runner_service.domain.logs import LogPosition, LogRecord, LogStream
from runner_service.ports.store import AgentStore, JobStore
from runner_service.services.agents.output import LineSplitter
from runner_service.services.logs import LogBatch, LogReader

EVENTS_AT_ONCE = 500
_LEVEL = re.compile(r"\W{0,2}(debug|info|warn|warning|error|critical|fatal)\b", re.IGNORECASE)
_LEVELS = {"warn": "warning", "critical": "error", "fatal": "error"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One line of an agent's log."""

    at: Micros
    level: str
    """debug, info, warning or error."""
    message: str


class _Placed(NamedTuple):
    at: Micros
    order: int
    entry: LogEntry


class AgentLogs:
    """Reads the logs of agents."""

    def __init__(self, *, store: AgentStore, jobs: JobStore, reader: LogReader) -> None:
        self._store = store
        self._jobs = jobs
        self._reader = reader

    async def read(self, agent_id: str, *, limit: int, since: Micros = 0) -> list[LogEntry]:
        """The last ``limit`` entries at or after ``since``, oldest first. Raises `AgentNotFound`."""
        view = await self._store.get(agent_id)
        written: deque[LogEntry] = deque(maxlen=limit)
        splitters = {
            LogStream.STDOUT: LineSplitter(LogPosition("")),
            LogStream.STDERR: LineSplitter(LogPosition("")),
        }
        async for batch in self._reader.read(agent_id, streams=splitters):
            if isinstance(batch, LogBatch):
                for record in batch.records:
                    written.extend(
                        entry for entry in _written(splitters, batch.attempt_id, record) if entry.at >= since
                    )
        told = [entry for entry in await self._told(view) if entry.at >= since]
        merged = heapq.merge(_placed(told), _placed(written))
        return [place.entry for place in merged][-limit:] if limit else []

    async def _told(self, view: AgentView) -> list[LogEntry]:
        """What the events say."""
        entries: list[LogEntry] = []
        after = 0
        while events := await self._jobs.events(after=after, limit=EVENTS_AT_ONCE, job_id=view.agent.agent_id):
            entries += [entry for event in events for entry in _entries(event, view)]
            after = events[-1].sequence
        return entries


def _placed(entries: Iterable[LogEntry]) -> list[_Placed]:
    """In order of time, and within one time as they came."""
    return sorted(_Placed(entry.at, order, entry) for order, entry in enumerate(entries))


def _written(splitters: dict[LogStream, LineSplitter], attempt_id: str, record: LogRecord) -> Iterable[LogEntry]:
    if record.stream is LogStream.GAP:
        for splitter in splitters.values():
            list(splitter.feed(attempt_id, record))
        yield LogEntry(
            at=record.time_ns // 1000, level="warning", message=f"{record.gap_bytes} bytes of output are missing here"
        )
        return
    splitter = splitters[record.stream]
    # To the splitter both are output: it cuts one stream.
    for line in splitter.feed(attempt_id, record._replace(stream=LogStream.STDOUT)):
        text = line.data.decode(errors="replace").rstrip()
        at = line.time_ns // 1000
        if record.stream is LogStream.STDERR:
            if text:
                yield LogEntry(at=at, level=level_of(text), message=text)
            continue
        said = read_line(line.data)
        if said is not None and said.kind is LineKind.LOG:
            yield LogEntry(at=at, level=said.level, message=said.content)
        elif said is not None and said.kind is LineKind.NONSENSE:
            yield LogEntry(at=at, level="info", message=said.content)


def level_of(text: str) -> str:
    """The level that a line begins with, as loggers write it; ``info`` for any other."""
    found = _LEVEL.match(text)
    word = found[1].lower() if found else "info"
    return _LEVELS.get(word, word)


def _entries(event: JobEvent, view: AgentView) -> Iterator[LogEntry]:
    if event.kind.startswith(AGENT_EVENT):
        note = read_note(event.kind, event.detail)
        if note.kind == "error":
            yield LogEntry(at=event.at, level="error", message=str(note.data.get("error", note.content)))
        else:
            yield LogEntry(at=event.at, level="debug", message=note.content or note.kind)
        return
    if event.kind == "created":
        yield LogEntry(at=event.at, level="info", message=f"Agent created from {view.agent.image}")
    elif event.kind == "running":
        yield LogEntry(at=event.at, level="info", message="Agent started")
    if event.state in (JobState.SUCCEEDED, JobState.CANCELLED):
        yield LogEntry(at=event.at, level="info", message=f"Agent ended: {explain(view.job.outcome)}")
    elif event.state.terminal:
        yield LogEntry(at=event.at, level="error", message=f"Agent failed: {explain(view.job.outcome)}")
