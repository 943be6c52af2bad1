"""The log of an agent for people: what it wrote beside the protocol, and how its process fared."""

from __future__ import annotations

import heapq
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from runner_service.domain.agent_lines import AgentLine, LineKind, read_line, read_tool_ref
from runner_service.domain.agents import AgentStatus, AgentView, explain
from runner_service.domain.errors import AttemptNotFound
from runner_service.domain.jobs import Job, Micros
from runner_service.domain.logs import LogPosition, LogRecord, LogStream, write_cursor
from runner_service.ports.store import AgentStore, LogStore
from runner_service.services.agents.output import LineSplitter, OutputLine
from runner_service.services.logs import LogBatch, LogReader

TAIL_BYTES = 1024 * 1024
"""Of output that is looked through, whatever its size: nobody waits long for the end of a log."""
_LEVEL = re.compile(r"\W{0,2}(debug|info|warn|warning|error|critical|fatal)\b", re.IGNORECASE)
_LEVELS = {"warn": "warning", "critical": "error", "fatal": "error"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One line of an agent's log."""

    at: Micros
    level: str
    """debug, info, warning or error."""
    message: str


class AgentLogs:
    """Reads the logs of agents."""

    def __init__(self, *, store: AgentStore, logs: LogStore, reader: LogReader) -> None:
        self._store = store
        self._logs = logs
        self._reader = reader

    async def read(self, agent_id: str, *, limit: int, since: Micros = 0) -> list[LogEntry]:
        """The last ``limit`` entries at or after ``since``, oldest first, as far as they are in the last `TAIL_BYTES`
        of its output. Raises `AgentNotFound`."""
        view = await self._store.get(agent_id)
        lived = [entry for entry in _life(view) if entry.at >= since]
        written: deque[LogEntry] = deque(maxlen=limit)
        start = await self._start(view.job)
        splitters = {stream: _Lines(start) for stream in (LogStream.STDOUT, LogStream.STDERR)}
        cursor = write_cursor(start) if start.sequence else ""
        async for batch in self._reader.read(agent_id, cursor=cursor, streams=splitters):
            if isinstance(batch, LogBatch):
                for record in batch.records:
                    found = _written(splitters, batch.attempt_id, record)
                    written.extend(entry for entry in found if entry.at >= since)
        # Both are in order of time; of one time, what happened comes before what was written.
        merged = heapq.merge(lived, sorted(written, key=_at), key=_at)
        return list(merged)[-limit:] if limit else []

    async def _start(self, job: Job) -> LogPosition:
        """From where on the newest attempt's output is about `TAIL_BYTES`; its beginning, where it is less."""
        if not job.attempt_id:
            return LogPosition("")
        try:
            status = await self._logs.status(job.attempt_id)
        except AttemptNotFound:
            return LogPosition("")
        size = status.stdout_bytes + status.stderr_bytes
        back = status.next_sequence * TAIL_BYTES // size if size > TAIL_BYTES else status.next_sequence
        return LogPosition(job.attempt_id, status.next_sequence - back)


class _Lines:
    """The lines of one stream from ``start`` on. What it begins with in the middle of a line is passed over."""

    def __init__(self, start: LogPosition) -> None:
        self._splitter = LineSplitter(start)
        self._begun = start.sequence == 0

    def feed(self, attempt_id: str, record: LogRecord) -> Iterator[OutputLine]:
        for line in self._splitter.feed(attempt_id, record):
            if self._begun:
                yield line
            self._begun = True


def _at(entry: LogEntry) -> Micros:
    return entry.at


def _life(view: AgentView) -> Iterator[LogEntry]:
    """What became of the process."""
    job = view.job
    yield LogEntry(at=job.created_at, level="info", message=f"Agent created from {view.agent.image}")
    if job.started_at is not None:
        yield LogEntry(at=job.started_at, level="info", message="Agent started")
    if job.finished_at is not None:
        failed = view.status is AgentStatus.ERROR
        word, level = ("failed", "error") if failed else ("ended", "info")
        yield LogEntry(at=job.finished_at, level=level, message=f"Agent {word}: {explain(job.outcome)}")


def _written(splitters: Mapping[LogStream, _Lines], attempt_id: str, record: LogRecord) -> Iterator[LogEntry]:
    if record.stream is LogStream.GAP:
        for splitter in splitters.values():
            list(splitter.feed(attempt_id, record))
        message = f"{record.gap_bytes} bytes of output are missing here"
        yield LogEntry(at=record.time_ns // 1000, level="warning", message=message)
        return
    # To a splitter both are output: it cuts one stream.
    for line in splitters[record.stream].feed(attempt_id, record._replace(stream=LogStream.STDOUT)):
        at = line.time_ns // 1000
        if record.stream is LogStream.STDERR:
            if text := line.data.decode(errors="replace").rstrip():
                yield LogEntry(at=at, level=level_of(text), message=text)
        elif (said := read_line(line.data)) is not None and (told := _told(said)) is not None:
            yield LogEntry(at=at, level=told[0], message=told[1])


def _told(line: AgentLine) -> tuple[str, str] | None:
    """Level and text of a line of the protocol; ``None`` for the pieces of answers, which are not for the log."""
    match line.kind:
        case LineKind.LOG:
            return line.level, line.content
        case LineKind.ERROR:
            return "error", line.content
        case LineKind.NONSENSE:
            return "info", line.content
        case LineKind.END:
            return "debug", "Answered a message"
        case LineKind.TOOL_RESULT:
            return "debug", f"Used tool: {read_tool_ref(line.subject).tool}"
        case LineKind.EVENT:
            return "debug", line.content or line.event_type
        case LineKind.CHUNK | LineKind.USAGE:
            return None


def level_of(text: str) -> str:
    """The level that a line begins with, as loggers write it; ``info`` for any other."""
    found = _LEVEL.match(text)
    word = found[1].lower() if found else "info"
    return _LEVELS.get(word, word)
