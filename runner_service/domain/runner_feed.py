"""A runner's feed: what happened to it and what its jobs wrote, as numbered entries of one kind.

Nothing is stored twice: of output the feed keeps which records of which log came in, and how many entries they make.
An entry is a line, so a line that is not whole yet is counted with the records that bring its end. What is needed to
tell the same lines apart again later is the `SplitState` before those records.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from runner_service.domain.jobs import JobState, Micros
from runner_service.domain.logs import LogRecord, LogStream, read_step_mark

MAX_LINE_BYTES = 64 * 1024
"""A line that grows beyond this is cut behind the record in which it does."""


class FeedLevel(StrEnum):
    """How much an entry matters."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


class FeedKind(StrEnum):
    """What a run of entries is."""

    EVENT = "EVENT"
    """One entry: something that happened to a job; ``word`` is a `JobEvent` kind, or the state in which it ended."""
    RUNNER = "RUNNER"
    """One entry: a `RunnerEvent`."""
    OUTPUT = "OUTPUT"
    """The lines that end in some records of a log."""
    REST = "REST"
    """The lines that the end of a log left without an end of their own."""


class SplitState(NamedTuple):
    """Where the unfinished lines of a log begin."""

    out_from: int = -1
    """Sequence of the record that holds the beginning of the unfinished line of standard output; -1: there is none."""
    out_size: int = 0
    """Bytes of it."""
    err_from: int = -1
    err_size: int = 0
    step: int = 0


class Counts(NamedTuple):
    """Entries by level."""

    debug: int = 0
    info: int = 0
    warn: int = 0
    error: int = 0

    @property
    def all(self) -> int:
        return self.debug + self.info + self.warn + self.error

    def of(self, level: FeedLevel | None) -> int:
        return self.all if level is None else int(getattr(self, level.lower()))


WHOLE_LINES = SplitState()
"""No line is unfinished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedRun:
    """Entries that came into the feed together."""

    runner_id: str
    first: int
    """Number of its first entry: from 1, without holes."""
    kind: FeedKind
    counts: Counts
    first_at: Micros
    last_at: Micros
    job_id: str = ""
    attempt_id: str = ""
    first_record: int = 0
    records: int = 0
    before: SplitState = WHOLE_LINES
    word: str = ""
    step: str = ""
    event: int = 0
    """Of a RUNNER: the sequence of its `RunnerEvent`."""


class Line(NamedTuple):
    """One entry of output."""

    at_ns: int
    level: FeedLevel
    text: str
    step: int
    record: int
    """Sequence of the record in which it ends."""
    marker: bool = False
    """It is the beginning of a step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedEntry:
    """One entry, ready to be shown."""

    number: int
    at: Micros
    level: FeedLevel
    phrase: str = ""
    """What happened, for anything but output; ``text`` may say more."""
    text: str = ""
    job_id: str = ""
    step: str = ""


class Splitter:
    """Cuts the records of one log into lines. Records must come in order, from where ``state`` says."""

    def __init__(self, state: SplitState) -> None:
        self._step = state.step
        self._begin = {LogStream.STDOUT: state.out_from, LogStream.STDERR: state.err_from}
        self._size = {LogStream.STDOUT: state.out_size, LogStream.STDERR: state.err_size}
        self._parts: dict[LogStream, list[bytes]] = {LogStream.STDOUT: [], LogStream.STDERR: []}

    @property
    def state(self) -> SplitState:
        out, err = LogStream.STDOUT, LogStream.STDERR
        return SplitState(self._begin[out], self._size[out], self._begin[err], self._size[err], self._step)

    def take(self, record: LogRecord) -> Iterator[Line]:
        """The entries that end in a record."""
        if record.stream is LogStream.STEP:
            self._step = read_step_mark(record.data).step
            yield Line(record.time_ns, FeedLevel.DEBUG, "", self._step, record.sequence, marker=True)
        elif record.stream is LogStream.GAP:
            text = f"{record.gap_bytes} bytes of output are missing here"
            yield Line(record.time_ns, FeedLevel.WARN, text, self._step, record.sequence)
        elif record.stream is LogStream.SYSTEM:
            yield Line(record.time_ns, FeedLevel.INFO, _text(record.data), self._step, record.sequence)
        else:
            yield from self._output(record)

    def rest(self, at_ns: int, record: int) -> Iterator[Line]:
        """The unfinished lines, once nothing follows."""
        for stream in (LogStream.STDOUT, LogStream.STDERR):
            if self._begin[stream] >= 0:
                yield self._line(stream, at_ns, record)

    def _output(self, record: LogRecord) -> Iterator[Line]:
        stream = LogStream.STDERR if record.stream is LogStream.STDERR else LogStream.STDOUT
        *whole, last = record.data.split(b"\n")
        for part in whole:
            self._parts[stream].append(part)
            yield self._line(stream, record.time_ns, record.sequence)
        if last:
            if self._begin[stream] < 0:
                self._begin[stream] = record.sequence
            self._parts[stream].append(last)
            self._size[stream] += len(last)
            if self._size[stream] >= MAX_LINE_BYTES:
                yield self._line(stream, record.time_ns, record.sequence)

    def _line(self, stream: LogStream, at_ns: int, record: int) -> Line:
        text = _text(b"".join(self._parts[stream]))
        self._parts[stream], self._begin[stream], self._size[stream] = [], -1, 0
        level = FeedLevel.ERROR if stream is LogStream.STDERR else FeedLevel.INFO
        return Line(at_ns, level, text, self._step, record)


def count(lines: Iterable[Line]) -> Counts:
    """How many entries lines are, by level."""
    found = dict.fromkeys(FeedLevel, 0)
    for line in lines:
        found[line.level] += 1
    return Counts(*(found[level] for level in FeedLevel))


def first_needed(run: FeedRun) -> int:
    """Sequence of the first record that has to be read again to tell the lines of ``run`` apart."""
    begins = [begin for begin in (run.before.out_from, run.before.err_from) if begin >= 0]
    return min([run.first_record, *begins])


def lines_of(run: FeedRun, records: Iterable[LogRecord]) -> list[Line]:
    """The lines of an OUTPUT or REST, from the log's records from `first_needed` on.

    Of the records before its own only the unfinished lines are taken up: each from the record that holds its beginning,
    which it fills from behind its last line break on.
    """
    before = run.before
    splitter = Splitter(SplitState(step=before.step))
    lines: list[Line] = []
    end = run.first_record + run.records
    last_ns = run.last_at * 1000
    for record in records:
        if record.sequence >= end:
            break
        if record.sequence < run.first_record:
            begin = before.err_from if record.stream is LogStream.STDERR else before.out_from
            if begin < 0 or record.sequence < begin or record.stream in _NO_OUTPUT:
                continue
            if record.sequence == begin:
                record = record._replace(data=record.data.rpartition(b"\n")[2])
            for _ in splitter.take(record):  # Nothing ends here: it was counted unfinished.
                pass
        else:
            lines += splitter.take(record)
    if run.kind is FeedKind.REST:
        lines += splitter.rest(last_ns, run.first_record)
    return lines


_NO_OUTPUT = frozenset({LogStream.STEP, LogStream.GAP, LogStream.SYSTEM})

JOB_PHRASES = {
    "created": (FeedLevel.DEBUG, "Job queued"),
    "running": (FeedLevel.INFO, "Job started"),
    "requeued": (FeedLevel.WARN, "Job will be tried again"),
    "cancel_requested": (FeedLevel.INFO, "Job is being cancelled"),
    JobState.SUCCEEDED: (FeedLevel.INFO, "Job completed"),
    JobState.FAILED: (FeedLevel.ERROR, "Job failed"),
    JobState.TIMED_OUT: (FeedLevel.ERROR, "Job timed out"),
    JobState.CANCELLED: (FeedLevel.WARN, "Job cancelled"),
    JobState.LOST: (FeedLevel.ERROR, "Job lost"),
}
"""What the feed says of the events of jobs; others are not shown."""

RUNNER_PHRASES = {
    "registered": (FeedLevel.INFO, "Runner registered"),
    "state": (FeedLevel.INFO, "Runner status changed"),
    "updated": (FeedLevel.INFO, "Runner updated"),
    "config": (FeedLevel.INFO, "Runner configuration updated"),
    "told": (FeedLevel.INFO, "Runner was told"),
    "health": (FeedLevel.WARN, "Runner health changed"),
    "deleted": (FeedLevel.INFO, "Runner deleted"),
}


def _text(data: bytes) -> str:
    return data.removesuffix(b"\r").decode("utf-8", "replace")
