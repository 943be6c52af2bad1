"""Jobs of queues that a runner of our own executes, shown as if an agent had posted what its log and its outcome say.

Each phase is a step of the job, and the journal marks where a step begins: so output has its phase, a record's sequence
is the number of a fragment, and the codes of phases follow from the outcome.
"""

from __future__ import annotations

import codecs
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from runner_service.domain.jobs import JobState
from runner_service.domain.json_text import text_of
from runner_service.domain.logs import LogPosition, LogRecord, LogStream, read_step_mark, write_cursor
from runner_service.domain.outcomes import Outcome, OutcomeKind
from runner_service.domain.queues import CLEANUP, RUNNING, Fragment, OutputKind, QueueJob, agent_runner_id
from runner_service.services.logs import LogBatch, LogReader

SHOWN_BYTES = 16 * 1024 * 1024
"""Of the output of a job in its result; the log endpoints show all, in pieces of this size."""
SERIAL_ON_STDERR = MappingProxyType({"lab/serial": "stderr"})
"""Annotation of a job whose standard error is the console of its device."""
_REMEMBERED = 1_000
_AGENT = agent_runner_id("")
_TIMED_OUT = 124
"""As timeout(1) returns."""


def is_ours(found: QueueJob) -> bool:
    """Tells whether the job's newest attempt is, or was, a runner's of our own."""
    return bool(found.job.attempt_id) and not found.job.runner_id.startswith(_AGENT)


def writes(found: QueueJob, kind: OutputKind) -> bool:
    """Tells whether output of this kind comes from a runner of our own. Serial output may be posted by somebody else
    where the queue has nothing that reads the console."""
    return is_ours(found) and (kind is OutputKind.OUTPUT or _has_serial(found))


def _has_serial(found: QueueJob) -> bool:
    return SERIAL_ON_STDERR.items() <= found.job.annotations.items()


@dataclass(slots=True)
class _Marks:
    """Where the steps of an attempt begin, as far as its journal was looked at."""

    scanned: int
    begins: list[tuple[int, int]]
    """(sequence, step), in order."""
    codes: dict[int, int]
    """How steps ended that others followed."""

    @property
    def step(self) -> int:
        """The one that runs."""
        return self.begins[-1][1]

    def step_at(self, sequence: int) -> int:
        return next(step for begin, step in reversed(self.begins) if begin <= sequence)

    def take(self, record: LogRecord) -> None:
        mark = read_step_mark(record.data)
        self.codes[self.step] = mark.code
        self.begins.append((record.sequence, mark.step))


class OwnAttempts:
    """Reads what runners of our own did for queues."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader
        self._marks: OrderedDict[str, _Marks] = OrderedDict()

    async def word(self, found: QueueJob) -> str:
        """How the job stands: the phase that runs. The cleanup is no state of its own, as agents have it."""
        if found.job.state is not JobState.RUNNING or found.word != RUNNING:
            return found.word
        marks = await self._scan(found)
        phases = [_phase(found, step) for _, step in marks.begins]
        return next((phase for phase in reversed(phases) if phase != CLEANUP), RUNNING)

    async def members(self, found: QueueJob) -> Mapping[str, str]:
        """The codes and the output of its phases, as members of a result."""
        marks, outcome = await self._scan(found), found.job.outcome
        members: dict[str, str] = {}
        for index, step in enumerate(found.job.spec.steps):
            code = marks.codes.get(index) if outcome is None else _code(outcome, index)
            if code is not None:
                members[f"{step.name}_status"] = str(code)
        for kind, ending in ((OutputKind.OUTPUT, "output"), (OutputKind.SERIAL, "serial")):
            phases: dict[str, list[str]] = {}
            for fragment in await self.fragments(found, kind) if writes(found, kind) else ():
                phases.setdefault(fragment.phase, []).append(fragment.data)
            members |= {f"{phase}_{ending}": text_of("".join(pieces)) for phase, pieces in phases.items()}
        return members

    async def fragments(
        self, found: QueueJob, kind: OutputKind, *, phase: str | None = None, start: int = 0, since: str = ""
    ) -> Sequence[Fragment]:
        """The output from a record on, `SHOWN_BYTES` of it at most: what is behind can be asked for next."""
        serial = _has_serial(found)
        marks = await self._scan(found)
        decoders = {stream: codecs.getincrementaldecoder("utf-8")("replace") for stream in LogStream}
        fragments: list[Fragment] = []
        size = 0
        async for record in self._records(found, start):
            if record.stream in (LogStream.STEP, LogStream.SYSTEM, LogStream.GAP):
                continue
            if serial and (record.stream is LogStream.STDERR) is not (kind is OutputKind.SERIAL):
                continue
            size += len(record.data)
            if size > SHOWN_BYTES and fragments:
                break
            at = datetime.fromtimestamp(record.time_ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            shown = _phase(found, marks.step_at(record.sequence))
            text = decoders[record.stream].decode(record.data)
            if (phase is None or phase == shown) and at >= since:
                fragments.append(Fragment(number=record.sequence, phase=shown, at=at, data=text))
        return fragments

    async def _scan(self, found: QueueJob) -> _Marks:
        """Where the steps begin, up to the end of what is there now."""
        attempt_id = found.job.attempt_id
        marks = self._marks.setdefault(attempt_id, _Marks(scanned=0, begins=[(0, 0)], codes={}))
        self._marks.move_to_end(attempt_id)
        while len(self._marks) > _REMEMBERED:
            self._marks.popitem(last=False)
        async for record in self._records(found, marks.scanned):
            # Another call may scan at the same time: each record counts once.
            if record.sequence >= marks.scanned:
                marks.scanned = record.sequence + 1
                if record.stream is LogStream.STEP:
                    marks.take(record)
        return marks

    async def _records(self, found: QueueJob, start: int) -> AsyncIterator[LogRecord]:
        attempt_id = found.job.attempt_id
        cursor = write_cursor(LogPosition(attempt_id, start))
        async for batch in self._reader.read(found.job.job_id, cursor=cursor):
            if isinstance(batch, LogBatch) and batch.attempt_id == attempt_id:
                for record in batch.records:
                    yield record


def _phase(found: QueueJob, step: int) -> str:
    steps = found.job.spec.steps
    return steps[min(step, len(steps) - 1)].name


def _code(outcome: Outcome, index: int) -> int | None:
    """What the phase at ``index`` returned; None: it never ran, or nobody knows."""
    if index == outcome.step and outcome.kind is OutcomeKind.TIMED_OUT:
        return _TIMED_OUT
    if index < len(outcome.step_codes):
        code = outcome.step_codes[index]
        return None if code < 0 else code
    # The only step; or a worker of before told no more than what ended it.
    if index != outcome.step:
        return 0 if index < outcome.step else None
    return 128 + outcome.signal if outcome.signal is not None else outcome.exit_code
