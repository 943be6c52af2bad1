"""How one execution ended: a closed set of facts, the same for every executor."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class OutcomeKind(StrEnum):
    """What ended an execution."""

    EXITED = "EXITED"
    """The process ended by itself; ``exit_code`` says how."""
    SIGNALED = "SIGNALED"
    """A signal that the service did not send killed the process; ``signal`` says which."""
    TIMED_OUT = "TIMED_OUT"
    """A time budget ran out and the service ended the tree; ``detail`` names the budget (`TimeBudget`)."""
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    """The kernel killed a process of it for memory, and it failed."""
    OUT_OF_DISK = "OUT_OF_DISK"
    """It had more on disk than its limit, and the service ended the tree."""
    CANCELLED = "CANCELLED"
    """A cancel was accepted; ``detail`` says by whom or why."""
    LOST = "LOST"
    """Nobody knows how it ended; ``detail`` says why."""
    REFUSED = "REFUSED"
    """It could not start as asked; ``detail`` is a `RefusedReason`, ``message`` says more."""
    INFRASTRUCTURE = "INFRASTRUCTURE"
    """The runner failed, not the job; ``detail`` names the phase (``prepare``, ``start``, ``run``, ``collect``), or
    is ``spool_full``."""


class TimeBudget(StrEnum):
    """Which time ran out."""

    QUEUE = "queue"
    """It waited too long for a runner."""
    START = "start"
    """Its first process took too long to come into being."""
    RUN = "run"
    """It ran too long."""
    IDLE = "idle"
    """It wrote nothing for too long."""
    KILL = "kill"
    """It had ended by itself, but what it left could not be ended in time: there are survivors."""


class RefusedReason(StrEnum):
    """Why a command could not start."""

    COMMAND_NOT_FOUND = "COMMAND_NOT_FOUND"
    COMMAND_NOT_EXECUTABLE = "COMMAND_NOT_EXECUTABLE"
    WORKING_DIRECTORY = "WORKING_DIRECTORY"
    TOO_LARGE = "TOO_LARGE"
    """Arguments and environment are more than the kernel takes."""
    IMAGE = "IMAGE"
    """Its image is not to be had."""
    CONTAINER = "CONTAINER"
    """The container that it asks for cannot be, such as one with a volume that makes no sense."""
    SECRET_MISSING = "SECRET_MISSING"
    """A secret that it names is not there, or may not be sent to this runner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What an execution used, summed over its steps and all processes that were waited for."""

    wall_us: int = 0
    """Microseconds from the first start to the last end."""
    cpu_us: int = 0
    """Microseconds of processor time, user and system."""
    max_rss_bytes: int = 0
    """The largest resident set of one process."""
    peak_memory_bytes: int = 0
    """The most memory of all processes together, as their cgroup counted it; 0: none did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one execution ended."""

    kind: OutcomeKind
    exit_code: int | None = None
    """For EXITED: 0 to 255."""
    signal: int | None = None
    """For SIGNALED: the signal's number."""
    detail: str = ""
    """A word that refines ``kind``; see its values."""
    message: str = ""
    """A sentence for people; may be empty."""
    step: int = 0
    """Index of the step that ended it."""
    survivors: int = 0
    """Processes that could not be ended. Anything but 0 is a fault of the runner, and no success."""
    usage: Usage = Usage()
    unenforced_limits: tuple[str, ...] = ()
    """Limits of the job that the runner had no means to enforce: ``cpus``, ``memory``, ``processes``, ``disk``."""
    step_codes: tuple[int, ...] = ()
    """Of a job with several steps, how each ended: its exit code, 128 and the number of the signal that ended it, or -1
    of one that did not run or of whose end nobody knows."""

    @property
    def succeeded(self) -> bool:
        return self.kind is OutcomeKind.EXITED and self.exit_code == 0

    @property
    def words(self) -> str:
        """Kind and detail, as events have them: ``LOST lease_expired``."""
        return f"{self.kind} {self.detail}" if self.detail else self.kind
