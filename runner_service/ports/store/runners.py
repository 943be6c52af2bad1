"""Registered machines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from runner_service.domain.jobs import Job, Micros
from runner_service.domain.metrics import Bucket
from runner_service.domain.runner_feed import Counts, FeedLevel, FeedRun
from runner_service.domain.runner_health import HealthReport
from runner_service.domain.runners import Runner, RunnerEvent, RunnerKind, RunnerProfile, RunnerState
from runner_service.ports.store.answers import Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What a runner becomes."""

    runner: Runner
    profile: RunnerProfile
    events: tuple[tuple[str, str], ...] = ()
    """Kind and detail of what is to be recorded beside the move of its state, which records itself."""
    reason: str = ""
    """Detail of the event of the move."""


RunnerChange = Callable[[Runner, RunnerProfile, Micros, int], Changed]
"""Decides on a runner as it is now, given the time and how many attempts of its jobs have not ended. Pure: it may be
called again, and what it raises changes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerFilter:
    """Which runners; every condition that is set must hold."""

    state: RunnerState | None = None
    kind: RunnerKind | None = None
    tags: tuple[str, ...] = ()
    """All of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerPage:
    """Some runners in order of registration."""

    runners: tuple[Runner, ...]
    profiles: Mapping[str, RunnerProfile]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Jobs of a runner that have not ended."""

    active: int = 0
    """Given to it."""
    queued: int = 0
    """Bound to it and waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Jobs of a runner that have ended, of those that are kept. Cancelled ones count nowhere."""

    succeeded: int = 0
    failed: int = 0
    """Failed, lost or out of time."""
    seconds: float = 0.0
    """From start to end, of all of them together."""

    @property
    def executed(self) -> int:
        return self.succeeded + self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """What a look at the runners on their way to another state brought."""

    moved: tuple[str, ...] = ()
    """Runners whose state is another now."""
    released: tuple[str, ...] = ()
    """Jobs that are back in the queue: their runner stopped before they had started."""
    overdue: tuple[str, ...] = ()
    """Jobs whose runner waited long enough for them: to be cancelled."""


class RunnerStore(Protocol):
    """Registered machines."""

    async def register_once(
        self,
        runner: Runner,
        profile: RunnerProfile,
        *,
        digest: bytes,
        life_seconds: float,
        mark: Mark | None,
        note: str,
    ) -> tuple[Runner, str]:
        """Stores a new runner with the credential of its worker (its ``digest``; empty: none), which is good for so
        long, and returns it with the note; of a mark that is known, the runner as it is and the note of then.

        Raises:
            RunnerNotFound: The mark is known, and its runner was deleted.
        """
        ...

    async def get(self, runner_id: str) -> Runner:
        """Raises `RunnerNotFound`."""
        ...

    async def profile(self, runner_id: str) -> RunnerProfile:
        """Raises `RunnerNotFound`."""
        ...

    async def profiles(self, runner_ids: Sequence[str]) -> Mapping[str, RunnerProfile]:
        """Those of runners that are there."""
        ...

    async def list(self, *, limit: int, after: str = "") -> Sequence[Runner]:
        """Runners in order of name, then id. ``after``: the id of the last runner of the page before."""
        ...

    async def find(self, filter: RunnerFilter, *, limit: int, offset: int = 0) -> RunnerPage:
        """Runners in order of registration. ``limit`` 0: all."""
        ...

    async def local(self) -> Runner | None:
        """The runner that executes the jobs of hosted ones: of the servers' own the one that was heard of last."""
        ...

    async def change(
        self, runner_id: str, change: RunnerChange, *, mark: Mark | None = None
    ) -> tuple[Runner, RunnerProfile]:
        """Lets ``change`` decide in one transaction what a runner becomes, and records what is different then.

        Raises:
            RunnerNotFound: No such runner.
        """
        ...

    async def delete(self, runner_id: str, *, force: bool, by: str, mark: Mark | None = None) -> Sequence[Job]:
        """Forgets a runner with its feed, metrics and checks. With ``force`` its jobs are CANCELLED, those that its own
        worker runs at once and for good: nobody is left to report them. Returns the jobs that were cancelled.

        Raises:
            RunnerNotFound: No such runner.
            RunnerBusy: It has jobs, and no ``force``.
        """
        ...

    async def advance(self, *, silence_seconds: float) -> Advance:
        """Moves on every runner that is on its way to another state and has arrived, and to ERROR each that was not
        heard of for ``silence_seconds`` (unless it is INACTIVE as it was told) or did not come in time. Assignments
        that were not confirmed go back to the queue when their runner takes no work."""
        ...

    async def tallies(self, runner_ids: Sequence[str]) -> Mapping[str, Tally]:
        """How many jobs each has; all of them are in the answer."""
        ...

    async def statistics(self, runner_id: str, *, since: Micros = 0) -> Statistics:
        """Jobs that ended since then: bound ones, and others that it ran."""
        ...

    async def check(self, runner_id: str) -> tuple[int, HealthReport | None]:
        """The newest health check that was answered, and its number; 0 and None before the first."""
        ...

    async def save_check(self, runner_id: str, number: int, report: HealthReport) -> None:
        """Records the answer to a check, unless a later one was answered already."""
        ...

    async def events(self, *, after: int, limit: int) -> Sequence[RunnerEvent]:
        """Events of all runners behind sequence ``after``, in commit order."""
        ...

    async def last_event(self) -> int:
        """The newest sequence; 0 when there is none."""
        ...

    async def expire_events(self, *, before: Micros) -> None:
        """Deletes events from before, in the feeds too."""
        ...

    async def events_named(self, sequences: Sequence[int]) -> Mapping[int, RunnerEvent]:
        """The events with these sequences, as far as they are kept."""
        ...


class RunnerFeedStore(Protocol):
    """The feeds of runners; written by whatever writes events and logs."""

    async def newest(
        self,
        runner_id: str,
        *,
        job_id: str = "",
        since: Micros,
        until: Micros,
        level: FeedLevel | None,
        below: int,
        limit: int,
    ) -> Sequence[FeedRun]:
        """Runs that begin below entry ``below`` and touch the time from ``since`` to before ``until``, newest first.
        With ``level`` only those that hold such entries, with ``job_id`` only those of that job."""
        ...

    async def behind(self, runner_id: str, number: int, *, limit: int) -> Sequence[FeedRun]:
        """Runs that hold entries above ``number``, oldest first; the first may hold others too."""
        ...

    async def totals(
        self, runner_id: str, *, job_id: str = "", since: Micros, until: Micros
    ) -> tuple[Counts, Sequence[FeedRun]]:
        """How many entries the runs hold that touch this time, and those of them that also reach beyond it. With
        ``job_id`` of that job's alone."""
        ...

    async def last(self, runner_id: str) -> int:
        """Number of the newest entry; 0 when there is none."""
        ...

    async def open_attempts(self, runner_id: str) -> Sequence[tuple[str, str]]:
        """Attempts of bound jobs that have not ended, with the runner whose worker has them."""
        ...


class SampleStore(Protocol):
    """Metrics of runners."""

    async def add(self, buckets: Sequence[Bucket]) -> None:
        """Adds to what the buckets of same runner, width and start hold already."""
        ...

    async def read(self, runner_id: str, parts: Sequence[tuple[int, int, int]]) -> Sequence[Bucket]:
        """The buckets of each (width, since, until), in order of time; seconds since 1970."""
        ...

    async def expire(self, width: int, *, before: int) -> int:
        """Deletes some buckets of a width that start before; how many. Call again until 0."""
        ...
