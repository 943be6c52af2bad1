"""The executor contract: how a worker runs attempts, whatever runs them.

The life of an attempt, in the order in which the worker calls::

    1 adopt    once, first: what is still there from before this worker was born
    2 start    prepare and start; returns when the attempt is accepted, not when it runs
    3 events   Started, OutputGrew, InputWritten, Ended, from all attempts in one stream
      feed     its input, when it takes any
      read_log, acknowledge   the journal: from any offset, at any time until forget; what nobody has to read again
    4 kill     may be repeated; the end still comes as Ended
    5 forget   clean-up: log, working directory, memory of it; only after the end was reported
    6 close    once, last

Every call may be made twice and in any state of the attempt, also after a failed ``start``; a call that has nothing
left to do does nothing. Every accepted attempt ends in exactly one `Ended`, whatever breaks: what happened before
the process existed is an Outcome too (REFUSED, INFRASTRUCTURE), not an exception. When `Ended` is out, no process of
the attempt is left, or its outcome says how many are (``survivors``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

from runner_service.domain.inputs import InputRecord
from runner_service.domain.jobs import JobSpec, Micros
from runner_service.domain.logs import LogRecord, LogSeal
from runner_service.domain.outcomes import Outcome

Monotonic = float
"""A point in time: seconds of CLOCK_MONOTONIC (``time.monotonic()``), the same for all processes until a reboot."""


class ExecutionState(StrEnum):
    """Where an attempt is in the hands of an executor."""

    PREPARED = "PREPARED"
    """Accepted; no process yet."""
    RUNNING = "RUNNING"
    ENDED = "ENDED"
    """Has an outcome and a seal; kept until it is forgotten."""


class KillCause(StrEnum):
    """Why the worker ends an attempt; it decides the outcome's kind when the kill is what ended it."""

    CANCEL = "cancel"
    """CANCELLED; detail as given, or ``user``."""
    SHUTDOWN = "shutdown"
    """CANCELLED; detail ``shutdown``."""
    STALE = "stale"
    """LOST; detail ``stale``: the server gave the job to another attempt."""
    SELF_STOP = "self_stop"
    """LOST; detail ``self_stop``: no word from the server until the deadline."""
    START_TIMEOUT = "start_timeout"
    """TIMED_OUT; detail ``start``: its first process took too long to come into being."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownAttempt:
    """One attempt as an executor finds it."""

    attempt_id: str
    fence: int
    state: ExecutionState
    log_bytes: int
    """Size of its journal so far: `Executor.read_log` may be called up to here at once."""
    log_base: int = 0
    """Where its journal begins now: what was below is acknowledged, and given up."""
    log_base_sequence: int = 0
    """Of the record that begins at ``log_base``."""
    input_received: int | None = None
    """The place behind the input that it has; None when it takes none."""
    input_written: int = 0
    """The place behind what its processes were given."""
    outputs: Sequence[str] = ()
    """As its ``spec.outputs`` had them."""
    outcome: Outcome | None = None
    """When ENDED."""
    seal: LogSeal | None = None
    """When ENDED."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The first process of an attempt exists."""

    attempt_id: str
    at: Micros
    pid: int = 0
    """On this machine; 0 when there is none to see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputGrew:
    """There is more to read. Coalesced: only the newest size is told, and it never shrinks."""

    attempt_id: str
    log_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An attempt is over and its journal is complete."""

    attempt_id: str
    outcome: Outcome
    log_bytes: int
    """The final size of the journal; an OutputGrew for the last bytes may have been left out."""
    seal: LogSeal


@dataclass(frozen=True, slots=True, kw_only=True)
class InputWritten:
    """The processes of an attempt were given more of its input. Coalesced: only the newest place is told."""

    attempt_id: str
    written: int
    """The place behind what they were given."""


Event = Started | OutputGrew | InputWritten | Ended


class Executor(Protocol):
    """Runs attempts. One instance per worker, used from one event loop.

    Events of one attempt are in order: Started (left out when nothing could start), OutputGrew and InputWritten any
    number of times, Ended. Events of different attempts are in no order that means anything.
    """

    @property
    def spool_id(self) -> str:
        """Names the memory of attempts behind this executor, once `adopt` has returned. As long as it is the same, on
        the same boot of the machine, an attempt that `adopt` does not list was never started or has been forgotten,
        and no earlier worker can start it any more. Empty: such a promise cannot be made."""

    async def labels(self) -> Mapping[str, str]:
        """Labels that this machine has by what the executor can do now, beside those that it was given. Asked again and
        again; says soon."""

    async def adopt(self) -> Sequence[KnownAttempt]:
        """Connects to what runs attempts, starting it when it does not, and lists every attempt it knows.

        Attempts that are listed RUNNING or PREPARED go on, and their events come. Of one that is listed ENDED no
        event comes: its outcome and seal are in the list. Called twice, lists again.

        Raises:
            ExecutorUnavailable: It can be neither reached nor started.
        """

    async def prepare(self, attempt_id: str) -> str:
        """Makes an empty directory, which becomes the attempt's own when it is started after that. Again, it is
        emptied. It is forgotten with the attempt, also with one that is never started.

        Raises:
            OSError: There is no room.
        """

    def directory(self, attempt_id: str) -> str:
        """Where the own directory of an attempt is, from its start until it is forgotten; empty when there is none."""

    async def start(
        self,
        attempt_id: str,
        fence: int,
        spec: JobSpec,
        environment: Mapping[str, str],
        *,
        secrets: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Accepts an attempt and starts it. The same attempt again changes nothing, also when it has ended.

        Args:
            attempt_id: Letters, digits, ``-`` and ``_`` only.
            fence: Kept with the attempt, for the adoption by a later worker.
            spec: What to run; its ``environment`` is not used.
            environment: The complete environment of every step (see `environment.job_environment`).
            secrets: Further variables, with values that must get neither on a disk nor into the log, in no usual form.

        Raises:
            FenceMismatch: It knows this attempt under another fence.
            ExecutorUnavailable: It cannot be reached; nothing is known about whether the attempt started.
        """

    def events(self) -> AsyncIterator[Event]:
        """All events from `adopt` on, each once. For one reader; ends after `close`."""

    async def read_log(self, attempt_id: str, offset: int, limit: int) -> tuple[list[LogRecord], int]:
        """Reads whole records of the journal from byte ``offset`` on: about ``limit`` bytes, at least one record.

        Returns the records and the offset behind them; no records when there are none yet, or no more.
        ``offset`` is 0, the attempt's ``log_base``, or an offset that this method has returned, to this worker or one
        before it; nothing below what was acknowledged.

        Raises:
            AttemptUnknown: Never started or already forgotten.
            JournalCorrupt: The bytes on disk are damaged, or were acknowledged and are gone.
        """

    async def acknowledge(self, attempt_id: str, offset: int) -> None:
        """Nobody has to read the journal below ``offset``, as `read_log` returned it, any more: the server has it, or
        never will. It may be given up for room: a later `adopt` says from where on (``log_base``, at or below
        ``offset``) it is still there. Less than before, or of an unknown or ended attempt: nothing.

        An executor with a bounded spool lets a job go on writing only as this comes.
        """

    async def feed(self, attempt_id: str, offset: int, records: Sequence[InputRecord]) -> int | None:
        """Gives an attempt whose ``spec.stdin`` takes it a piece of its input, which begins at the place ``offset``.

        Returns at once, with the place behind what the attempt has then: what it had before is passed over, what leaves
        a hole or has no room now is not taken, and there is room again when `InputWritten` tells of some that was
        written. None when the attempt is over, unknown, or takes no input. What the attempt has outlives this worker.
        """

    async def kill(self, attempt_id: str, cause: KillCause, detail: str = "") -> None:
        """Ends an attempt: TERM, its grace, KILL, until no process of it is left. Returns at once.

        Repeating it neither restarts the grace nor changes the cause. An attempt that ended by itself before keeps its
        outcome. Of an unknown attempt: nothing, and no Ended.
        """

    async def hurry(self) -> None:
        """The grace of every attempt that is being ended is over: KILL, now. Of others: nothing."""

    async def forget(self, attempt_id: str) -> None:
        """Deletes the log and working directory of an ended attempt. Of a live or unknown one: nothing."""

    async def set_deadline(self, deadline: Monotonic | None, attempt_id: str | None = None) -> None:
        """Sets the self-stop deadline of one attempt, or of all live ones and those started later.

        When it passes and has not been moved, the attempt is ended as by ``kill(SELF_STOP)``, even when this worker
        no longer exists. ``None`` takes it away. What is set for one attempt holds until all are set again.
        """

    async def close(self, *, stop: bool = False) -> None:
        """Lets go: attempts go on for the next worker to adopt. With ``stop`` ends them all (SHUTDOWN) and waits."""


class ExecutorError(Exception):
    """The executor failed."""


class ExecutorUnavailable(ExecutorError):
    """The executor cannot be reached or started: {why}."""

    def __init__(self, why: str) -> None:
        super().__init__(f"The executor cannot be reached or started: {why}.")


class FenceMismatch(ExecutorError):
    """The attempt {attempt_id} is known here under another fence."""

    def __init__(self, attempt_id: str) -> None:
        super().__init__(f"The attempt {attempt_id} is known here under another fence.")


class AttemptUnknown(ExecutorError):
    """There is no attempt {attempt_id} here."""

    def __init__(self, attempt_id: str) -> None:
        super().__init__(f"There is no attempt {attempt_id} here.")
