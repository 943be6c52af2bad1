"""Runs nothing: an executor in memory that does what the command's words say, at once and without a clock.

A step is ``fake WORD…`` (argv, or a script that splits into the same), done from left to right::

    stdout=TEXT stderr=TEXT   writes
    stdout*=N stderr*=N       writes N bytes
    cat                       writes its input to stdout until that ends
    hold                      goes on when `FakeMachine.release` says so, or is killed
    exit=N                    ends (without it: exit=0)
    signal=N                  dies of a signal
    timeout                   runs out of its time
    lost=WHY                  nobody knows any more
    refuse=REASON             cannot start: a RefusedReason
    unborn                    never has a process, as its first word

Any other command is not found, as it would be on a machine without commands. Time passes in `FakeMachine.advance` only.
"""

from __future__ import annotations

import asyncio
import hashlib
import shlex
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from runner_service.domain.ids import new_id
from runner_service.domain.inputs import InputKind, InputRecord, cut, placed
from runner_service.domain.jobs import JobSpec, Stdin, Step
from runner_service.domain.logs import MAX_RECORD_BYTES, LogRecord, LogSeal, LogStream, decode, encode
from runner_service.domain.outcomes import Outcome, OutcomeKind, RefusedReason
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

_STREAMS = {"stdout": LogStream.STDOUT, "stderr": LogStream.STDERR}


@dataclass
class _Attempt:
    fence: int
    steps: list[list[str]]
    environment: dict[str, str]
    step: int = 0
    word: int = 1
    records: int = 0
    journal: bytearray = field(default_factory=bytearray)
    base: int = 0
    base_sequence: int = 0
    written: dict[LogStream, int] = field(default_factory=lambda: dict.fromkeys(_STREAMS.values(), 0))
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    started: bool = False
    outcome: Outcome | None = None
    deadline: Monotonic | None = None
    input_received: int | None = None
    input_written: int = 0
    input: list[InputRecord] = field(default_factory=list)
    """What no ``cat`` has taken yet."""
    always: frozenset[int] = frozenset()
    failure: Outcome | None = None
    """Of the first step that failed, while others still run because they always do."""
    closing: bool = False
    """It is being ended, while steps still run because they always do."""
    codes: dict[int, int] = field(default_factory=dict)

    @property
    def state(self) -> ExecutionState:
        if self.outcome is not None:
            return ExecutionState.ENDED
        return ExecutionState.RUNNING if self.started else ExecutionState.PREPARED

    @property
    def seal(self) -> LogSeal:
        stdout, stderr = self.written[LogStream.STDOUT], self.written[LogStream.STDERR]
        return LogSeal(self.records, stdout, stderr, self.digest.digest())


class FakeMachine:
    """Where fake attempts live; it outlives the executors that come and go."""

    def __init__(self) -> None:
        self.attempts: dict[str, _Attempt] = {}
        self.starts: list[str] = []
        """Every attempt that really started, in order: one that is here twice ran twice."""
        self.worker: FakeExecutor | None = None
        self.deadline: Monotonic | None = None
        self.spool_id = new_id()
        self.directories: dict[str, str] = {}

    def release(self, attempt_id: str) -> None:
        """Lets an attempt go on behind its ``hold``."""
        attempt = self.attempts[attempt_id]
        if attempt.outcome is None:
            attempt.word += 1
            self.run(attempt_id)

    def advance(self, now: Monotonic) -> None:
        """The clock shows ``now``: self-stop deadlines before it have passed."""
        for attempt_id, attempt in self.attempts.items():
            deadline = self.deadline if attempt.deadline is None else attempt.deadline
            if deadline is not None and deadline <= now:
                self.end(attempt_id, _KILLED[KillCause.SELF_STOP])

    def run(self, attempt_id: str) -> None:
        """Goes on until the next ``hold`` or the end."""
        attempt = self.attempts[attempt_id]
        while attempt.outcome is None and not attempt.closing:
            words = attempt.steps[attempt.step]
            if words[:1] != ["fake"]:
                message = f'exec: "{words[0]}": executable file not found in $PATH'
                self._refuse(attempt_id, RefusedReason.COMMAND_NOT_FOUND, message)
                return
            if attempt.word == 1 and words[1:] and words[1].startswith("refuse="):
                self._refuse(attempt_id, RefusedReason(words[1].partition("=")[2]), "refused, as asked")
                return
            if words[1:2] == ["unborn"] and not attempt.started:
                return
            if not attempt.started:
                attempt.started = True
                self.starts.append(attempt_id)
                self.tell(Started(attempt_id=attempt_id, at=0))
            if not self._step(attempt_id, attempt, words):
                return

    def end(self, attempt_id: str, outcome: Outcome) -> None:
        attempt = self.attempts[attempt_id]
        if attempt.outcome is None:
            codes = tuple(attempt.codes.get(step, -1) for step in range(len(attempt.steps)))
            attempt.outcome = replace(outcome, step=attempt.step, step_codes=codes if len(codes) > 1 else ())
            self.tell(
                Ended(attempt_id=attempt_id, outcome=attempt.outcome, log_bytes=len(attempt.journal), seal=attempt.seal)
            )

    def tell(self, event: Event) -> None:
        if self.worker is not None:
            self.worker.put(event)

    def _refuse(self, attempt_id: str, reason: RefusedReason, message: str) -> None:
        self.end(attempt_id, Outcome(kind=OutcomeKind.REFUSED, detail=reason, message=message))

    def _step(self, attempt_id: str, attempt: _Attempt, words: list[str]) -> bool:
        """Does the words of one step; False when it holds or the attempt has ended."""
        while attempt.word < len(words):
            name, _, value = words[attempt.word].partition("=")
            if name == "hold" or (name == "cat" and not self._cat(attempt_id, attempt)):
                return False
            if name == "cat":
                attempt.word += 1
                continue
            if name.rstrip("*") in _STREAMS:
                data = bytes(int(value)) if name.endswith("*") else value.encode()
                self._write(attempt_id, attempt, _STREAMS[name.rstrip("*")], data)
            elif name == "exit" and value == "0":
                break
            else:
                return self._step_ended(attempt_id, attempt, _ending(name, value))
            attempt.word += 1
        return self._step_ended(attempt_id, attempt, Outcome(kind=OutcomeKind.EXITED, exit_code=0))

    def close(self, attempt_id: str, outcome: Outcome) -> None:
        """Ends it, after the steps that always run; there is no grace, so one that holds is passed over."""
        attempt = self.attempts[attempt_id]
        last = attempt.step
        if attempt.started and attempt.outcome is None:
            attempt.closing, attempt.codes[last] = True, 143
            for step in sorted(step for step in attempt.always if step > last):
                attempt.step, attempt.word = step, 1
                self._step(attempt_id, attempt, attempt.steps[step])
            attempt.step = last
        self.end(attempt_id, outcome)

    def _step_ended(self, attempt_id: str, attempt: _Attempt, outcome: Outcome) -> bool:
        """Goes on to the next step; False when there is none."""
        code = outcome.exit_code if outcome.signal is None else 128 + outcome.signal
        attempt.codes[attempt.step] = -1 if code is None else code
        if attempt.closing:
            return False
        if not outcome.succeeded and attempt.failure is None:
            attempt.failure = replace(outcome, step=attempt.step)
        later = range(attempt.step + 1, len(attempt.steps))
        following = next((step for step in later if attempt.failure is None or step in attempt.always), None)
        if following is None:
            if attempt.failure is not None:
                attempt.step = attempt.failure.step
            self.end(attempt_id, attempt.failure or outcome)
            return False
        attempt.step, attempt.word = following, 1
        return True

    def _cat(self, attempt_id: str, attempt: _Attempt) -> bool:
        """Copies what there is; True when its end was among it."""
        ended = False
        records, attempt.input = attempt.input, []
        for record in records:
            attempt.input_written += record.places
            ended = ended or record.kind is InputKind.END
            if record.kind is InputKind.DATA:
                self._write(attempt_id, attempt, LogStream.STDOUT, record.payload)
        if records:
            self.tell(InputWritten(attempt_id=attempt_id, written=attempt.input_written))
        return ended

    def _write(self, attempt_id: str, attempt: _Attempt, stream: LogStream, data: bytes) -> None:
        for at in range(0, len(data), MAX_RECORD_BYTES):
            piece = data[at : at + MAX_RECORD_BYTES]
            attempt.journal += encode(LogRecord(attempt.records, 0, stream, piece))
            attempt.records += 1
            attempt.written[stream] += len(piece)
            attempt.digest.update(piece)
        self.tell(OutputGrew(attempt_id=attempt_id, log_bytes=len(attempt.journal)))


_KILLED = {
    KillCause.CANCEL: Outcome(kind=OutcomeKind.CANCELLED, detail="user"),
    KillCause.SHUTDOWN: Outcome(kind=OutcomeKind.CANCELLED, detail="shutdown"),
    KillCause.STALE: Outcome(kind=OutcomeKind.LOST, detail="stale"),
    KillCause.SELF_STOP: Outcome(kind=OutcomeKind.LOST, detail="self_stop"),
    KillCause.START_TIMEOUT: Outcome(kind=OutcomeKind.TIMED_OUT, detail="start"),
}


def _ending(name: str, value: str) -> Outcome:
    match name:
        case "exit":
            return Outcome(kind=OutcomeKind.EXITED, exit_code=int(value))
        case "signal":
            return Outcome(kind=OutcomeKind.SIGNALED, signal=int(value))
        case "timeout":
            return Outcome(kind=OutcomeKind.TIMED_OUT, detail="run")
        case "lost":
            return Outcome(kind=OutcomeKind.LOST, detail=value)
    return Outcome(kind=OutcomeKind.INFRASTRUCTURE, detail="run", message=f"the fake does not know the word {name}")


class FakeExecutor:
    """An `Executor` over a `FakeMachine`, by default one of its own."""

    def __init__(self, directory: str = "", *, machine: FakeMachine | None = None) -> None:
        self.machine = machine or FakeMachine()
        self._directory = directory
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()

    def put(self, event: Event | None) -> None:
        self._events.put_nowait(event)

    @property
    def spool_id(self) -> str:
        return self.machine.spool_id

    async def labels(self) -> Mapping[str, str]:
        return {}

    async def adopt(self) -> Sequence[KnownAttempt]:
        if self.machine.worker is not None and self.machine.worker is not self:
            self.machine.worker.put(None)
        self.machine.worker = self
        return [
            KnownAttempt(
                attempt_id=attempt_id,
                fence=attempt.fence,
                state=attempt.state,
                log_bytes=len(attempt.journal),
                log_base=attempt.base,
                log_base_sequence=attempt.base_sequence,
                input_received=attempt.input_received,
                input_written=attempt.input_written,
                outcome=attempt.outcome,
                seal=attempt.seal if attempt.outcome else None,
            )
            for attempt_id, attempt in self.machine.attempts.items()
        ]

    async def prepare(self, attempt_id: str) -> str:
        self.machine.directories[attempt_id] = directory = tempfile.mkdtemp(dir=self._directory or None)
        return directory

    def directory(self, attempt_id: str) -> str:
        return self.machine.directories.get(attempt_id, "")

    async def start(
        self,
        attempt_id: str,
        fence: int,
        spec: JobSpec,
        environment: Mapping[str, str],
        *,
        secrets: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        attempts = self._connected().attempts
        if attempt_id in attempts:
            if attempts[attempt_id].fence != fence:
                raise FenceMismatch(attempt_id)
            return
        received = None if spec.stdin is Stdin.NULL else 0
        attempts[attempt_id] = _Attempt(
            fence,
            [_words(step) for step in spec.steps],
            {**environment, **secrets},
            input_received=received,
            always=frozenset(index for index, step in enumerate(spec.steps) if step.always),
        )
        self.machine.run(attempt_id)

    async def events(self) -> AsyncIterator[Event]:
        while (event := await self._events.get()) is not None:
            yield event

    async def read_log(self, attempt_id: str, offset: int, limit: int) -> tuple[list[LogRecord], int]:
        attempt = self.machine.attempts.get(attempt_id)
        if attempt is None:
            raise AttemptUnknown(attempt_id)
        records: list[LogRecord] = []
        end = offset
        for record, behind in decode(bytes(attempt.journal), offset):
            if records and behind - offset > limit:
                break
            records.append(record)
            end = behind
        return records, end

    async def acknowledge(self, attempt_id: str, offset: int) -> None:
        attempt = self._connected().attempts.get(attempt_id)
        if attempt is None or attempt.outcome is not None:
            return
        for record, behind in decode(bytes(attempt.journal), attempt.base):
            if behind > offset:
                break
            attempt.journal[attempt.base : behind] = bytes(behind - attempt.base)
            attempt.base, attempt.base_sequence = behind, record.sequence + 1

    async def feed(self, attempt_id: str, offset: int, records: Sequence[InputRecord]) -> int | None:
        attempt = self._connected().attempts.get(attempt_id)
        if attempt is None or attempt.outcome is not None or attempt.input_received is None:
            return None
        for one in placed(records, offset):
            if one.behind > attempt.input_received >= one.offset:
                new = cut(one, attempt.input_received) if one.offset < attempt.input_received else one
                attempt.input.append(new.record)
                attempt.input_received = one.behind
        self.machine.run(attempt_id)
        return attempt.input_received

    async def kill(self, attempt_id: str, cause: KillCause, detail: str = "") -> None:
        if attempt_id in self._connected().attempts:
            cancel, known = cause is KillCause.CANCEL, _KILLED[cause]
            outcome = replace(known, detail=detail or "user") if cancel else replace(known, message=detail)
            gently = cancel or cause is KillCause.SHUTDOWN
            (self.machine.close if gently else self.machine.end)(attempt_id, outcome)

    async def hurry(self) -> None:
        """What is killed here has no grace."""
        self._connected()

    async def forget(self, attempt_id: str) -> None:
        attempt = self._connected().attempts.get(attempt_id)
        if attempt is None or attempt.outcome is not None:
            shutil.rmtree(self.machine.directories.pop(attempt_id, ""), ignore_errors=True)
        if attempt is not None and attempt.outcome is not None:
            del self.machine.attempts[attempt_id]

    async def set_deadline(self, deadline: Monotonic | None, attempt_id: str | None = None) -> None:
        machine = self._connected()
        if attempt_id is None:
            machine.deadline = deadline
            for attempt in machine.attempts.values():
                attempt.deadline = None
        elif attempt_id in machine.attempts:
            machine.attempts[attempt_id].deadline = deadline

    async def close(self, *, stop: bool = False) -> None:
        if self.machine.worker is self:
            if stop:
                for attempt_id in self.machine.attempts:
                    self.machine.end(attempt_id, _KILLED[KillCause.SHUTDOWN])
            self.machine.worker = None
        self.put(None)

    def _connected(self) -> FakeMachine:
        if self.machine.worker is not self:
            raise ExecutorUnavailable("adopt comes first and close last, and a newer worker takes all")
        return self.machine


def _words(step: Step) -> list[str]:
    return list(step.argv) or shlex.split(step.script) or [""]
