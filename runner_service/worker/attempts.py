"""What a worker has: every attempt from its offer until the server took its report."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from runner.v1.dispatch_service_pb2 import HeldAttempt
from runner_service.domain.jobs import JobSpec
from runner_service.domain.logs import LogSeal
from runner_service.domain.outcomes import Outcome
from runner_service.worker.executors.base import KillCause
from runner_service.worker.inputs import InputFeed
from runner_service.worker.shipper import Shipment


class Phase(IntEnum):
    """How far the worker is with an attempt; the numbers are those of the wire.

    ::

        HELD ──RUN──► STARTED ──CANCEL, stop──► ENDING
          └──CANCEL, stop──┐ └──────────┐         │
                           ▼            ▼         ▼
                         ENDED ◄──────── its process tree is gone
    """

    HELD = HeldAttempt.PHASE_HELD
    STARTED = HeldAttempt.PHASE_STARTED
    ENDING = HeldAttempt.PHASE_ENDING
    ENDED = HeldAttempt.PHASE_ENDED


@dataclass(slots=True, eq=False, kw_only=True)
class Held:
    """One attempt in the hands of a worker."""

    attempt_id: str
    fence: int
    phase: Phase
    shipment: Shipment
    spec: JobSpec | None = None
    """Until it is started."""
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Variables that nobody may see: in memory, until it is started."""
    self_stop: float = 0.0
    """Seconds it may go on after the lease has ended."""
    listed: bool = False
    """A Sync has told the server of it, which thereby counts as confirmed whether or not the reply came."""
    came_along: bool = False
    """It was offered with the answer to a report; while it is HELD, the next report has it confirmed."""
    starting: bool = False
    """The executor has not said yet whether it accepts it."""
    kill: tuple[KillCause, str] | None = None
    """Why it is being ended, while ENDING."""
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """Its first process exists, or it has ended without one."""
    discard: bool = False
    """Nobody wants its end reported: it is forgotten once it is dead."""
    outputs: Sequence[str] = ()
    """Patterns of the files that are kept once it has ended."""
    feed: InputFeed | None = None
    """While it runs and takes input."""
    feeding: asyncio.Task[None] | None = None
    outcome: Outcome | None = None
    """Once ENDED, with the seal."""
    seal: LogSeal | None = None
    measured: bool | None = None
    """It is an agent's, and how much memory it holds is to be known. None: not known yet, of one that was adopted."""
    memory_bytes: int = 0
    """What its processes hold, as measured last."""

    @property
    def live(self) -> bool:
        """A process of it exists or may come to exist."""
        return self.phase in (Phase.STARTED, Phase.ENDING)

    def end_feed(self) -> None:
        """Nothing of it reads any more."""
        self.feed = None
        if self.feeding is not None:
            self.feeding.cancel()


class Attempts:
    """The attempts of a worker, in the order in which they came."""

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}
        self.fewer = asyncio.Event()
        """Set whenever one ends or goes; cleared by whoever waits."""

    def __iter__(self) -> Iterator[Held]:
        return iter(self._held.values())

    def __len__(self) -> int:
        return len(self._held)

    def get(self, attempt_id: str) -> Held | None:
        return self._held.get(attempt_id)

    def add(self, held: Held) -> None:
        self._held[held.attempt_id] = held

    def remove(self, held: Held) -> None:
        """Lists it no more. Its shipment is dropped."""
        if self._held.pop(held.attempt_id, None) is not None:
            held.shipment.drop()
            self.fewer.set()

    @property
    def any_live(self) -> bool:
        return any(held.live for held in self)

    def listing(self) -> list[HeldAttempt]:
        """All of them, for a Sync; from now on they count as listed."""
        for held in self:
            held.listed = True
        return [
            HeldAttempt(
                attempt_id=held.attempt_id,
                fence=held.fence,
                phase=HeldAttempt.Phase.ValueType(held.phase),
                memory_bytes=held.memory_bytes,
                measured=bool(held.measured and held.live),
            )
            for held in self
        ]
