"""What the model knows of machines: their processes, their workers' memory, and what is under way between them and the
server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from store_house import chunk, seal_of

from runner_service.domain.dispatch import Along, Beat, DispatchTimes, Listed, Order, Phase, Report
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import LossPolicy
from runner_service.domain.logs import LogSeal
from runner_service.domain.outcomes import Outcome
from runner_service.ports.store import LogChunk

TIMES = DispatchTimes()
SLOTS = 2
POLICIES: list[dict[str, Any]] = [
    {"loss_policy": LossPolicy.WAIT, "loss_wait_seconds": 60.0},
    {"loss_policy": LossPolicy.WAIT, "loss_wait_seconds": 0.0, "max_attempts": 2},
    {"loss_policy": LossPolicy.FAIL},
    {"loss_policy": LossPolicy.RETRY, "idempotent": True, "max_attempts": 3},
    {"loss_policy": LossPolicy.RETRY, "idempotent": True, "max_attempts": 9},
    {"loss_policy": LossPolicy.RETRY, "idempotent": True, "max_attempts": 3, "retry_delay_seconds": 20.0},
    {"queue_timeout_seconds": 40.0},
]


@dataclass
class Execution:
    """A process tree on a machine, from its start to its report, and its journal."""

    job_id: str
    attempt_id: str
    fence: int
    self_stop: float
    """Seconds that it may go on after the lease has ended."""
    stops_at: float = float("inf")
    """Then it begins to die unless the server is heard of before, in seconds of the clock."""
    outcome: Outcome | None = None
    """None while it lives."""
    written: int = 0
    """Records in its journal."""
    acknowledged: int = 0
    """As the worker has heard it: where it ships on."""

    def chunk(self, first: int, last: int) -> LogChunk:
        """What it wrote, from one record to before another."""
        return chunk(*(text_of(self.attempt_id, number) for number in range(first, last)), first=first)

    @property
    def seal(self) -> LogSeal:
        return seal_of(*(text_of(self.attempt_id, number) for number in range(self.written)))


def text_of(attempt_id: str, number: int) -> bytes:
    """The record with this number, which nothing else is like."""
    return f"{attempt_id}:{number}\n".encode() * (1 + number % 3)


@dataclass
class Machine:
    """A runner: what its disk and its processes are, and what its worker has in memory."""

    runner_id: str
    boot_id: str = field(default_factory=new_id)
    spool_id: str = field(default_factory=new_id)
    session_id: str = field(default_factory=new_id)
    number: int = 0
    calls: int = 0
    """Reports that this session has sent."""
    heard: int = 0
    """The newest of them that is over."""
    answer: tuple[int, list[str], list[Order]] | None = None
    """An answer to a report under way: to which, what it took, and what it orders."""
    stray: Along | None = None
    """What goes along with a report that was given up, and has not reached the server yet."""
    executions: dict[str, Execution] = field(default_factory=dict)
    """By attempt: what the supervisor has."""
    held: dict[str, Order] = field(default_factory=dict)
    """Offered, not started: the worker's memory alone."""
    late: tuple[float, list[Order]] | None = None
    """A reply under way: when its request was sent, and what it says."""
    underway: Beat | None = None
    """A Sync that has not reached the server yet."""
    sent_at: float = 0.0
    """When that was sent."""
    lease_end: float = float("-inf")
    """As the worker counts it."""
    heard_at: float = float("-inf")
    """When the server heard of it last."""
    beats: list[Beat] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    along: list[Along] = field(default_factory=list)

    def begin_session(self) -> None:
        """A new worker: what the one before had in memory is gone. What it had sent may still arrive."""
        self.session_id, self.number, self.calls, self.heard = new_id(), 0, 0, 0
        self.late, self.underway, self.answer, self.lease_end = None, None, None, float("-inf")
        self.held.clear()

    @property
    def listed(self) -> tuple[Listed, ...]:
        executions = [
            Listed(
                attempt_id=one.attempt_id, fence=one.fence, phase=Phase.STARTED if one.outcome is None else Phase.ENDED
            )
            for one in self.executions.values()
        ]
        held = [
            Listed(attempt_id=order.attempt_id, fence=order.fence, phase=Phase.HELD) for order in self.held.values()
        ]
        return (*executions, *held)
