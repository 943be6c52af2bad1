"""Feeds of runners: pages, and streams that go on live."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from runner_service.domain.errors import JobNotFound, RunnerNotFound
from runner_service.domain.jobs import RUNNER_LABEL, Job, Micros
from runner_service.domain.logs import LogRecord, decode
from runner_service.domain.runner_feed import (
    JOB_PHRASES,
    RUNNER_PHRASES,
    FeedEntry,
    FeedKind,
    FeedLevel,
    FeedRun,
    Line,
    first_needed,
    lines_of,
)
from runner_service.domain.runners import RunnerEvent
from runner_service.ports.clock import Clock
from runner_service.ports.signals import Signals, feed_topic, log_topic, runner_topic
from runner_service.ports.store import RunnerFeedStore, RunnerStore
from runner_service.services.jobs import Jobs
from runner_service.services.logs import LogReader

RUNS_AT_ONCE = 200
POLL_SECONDS = 15.0
"""A follower looks at the store this often even when no hint comes; `Signals` caps it where hints can get lost."""
ENDLESS: Micros = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedQuery:
    """Which entries."""

    since: Micros = 0
    """Inclusive."""
    until: Micros = ENDLESS
    """Exclusive."""
    level: FeedLevel | None = None
    """Exactly this one."""
    job_id: str = ""
    """Only of this job, one that was submitted to the runner."""
    limit: int = 100

    def takes(self, entry: FeedEntry) -> bool:
        return self.since <= entry.at < self.until and self.level in (None, entry.level)

    def touches(self, run: FeedRun) -> bool:
        return not self.job_id or run.job_id == self.job_id


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPage:
    """The newest entries that match, in order of time."""

    entries: Sequence[FeedEntry]
    total: int
    has_more: bool
    """Older ones were left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedEnd:
    """Why nothing follows."""

    reason: str


class RunnerFeeds:
    """Reads feeds: the index from the store, lines from the logs it points to."""

    def __init__(
        self,
        *,
        runners: RunnerStore,
        feed: RunnerFeedStore,
        jobs: Jobs,
        logs: LogReader,
        signals: Signals,
        clock: Clock,
    ) -> None:
        self._runners = runners
        self._feed = feed
        self._jobs = jobs
        self._logs = logs
        self._signals = signals
        self._clock = clock

    async def page(self, runner_id: str, query: FeedQuery) -> FeedPage:
        """Returns the newest entries that match. Raises `RunnerNotFound`, and `JobNotFound` for a job that is not the
        runner's."""
        await self._check(runner_id, query)
        entries = await self._newest(runner_id, query, below=ENDLESS)
        counts, borders = await self._feed.totals(runner_id, job_id=query.job_id, since=query.since, until=query.until)
        total = counts.of(query.level)
        for run in borders:
            inside = sum(query.takes(entry) for entry in await self._entries(run))
            total += inside - run.counts.of(query.level)
        # In order of arrival they are numbered; what workers clocked may be a little out of that order.
        ordered = sorted(entries, key=lambda entry: entry.at)
        return FeedPage(entries=ordered, total=max(total, len(ordered)), has_more=total > len(ordered))

    async def follow(
        self, runner_id: str, query: FeedQuery, *, after: int | None = None
    ) -> AsyncIterator[FeedEntry | FeedEnd]:
        """Yields the newest entries that match, or all behind entry ``after``, then what comes, and at last why nothing
        follows. Raises `RunnerNotFound`, and `JobNotFound` for a job that is not the runner's."""
        await self._check(runner_id, query)
        if after is None:
            after = await self._feed.last(runner_id)
            for entry in await self._newest(runner_id, query, below=after + 1):
                yield entry
        watched: frozenset[tuple[str, str]] = frozenset()
        while True:
            with ExitStack() as stack:
                logs = [log_topic(attempt_id) for attempt_id, _ in watched]
                waiter = stack.enter_context(self._signals.subscribe(feed_topic(runner_id), *logs))
                while True:
                    # Asked before what there is: whatever its end brought with it is there then.
                    ended = await self._has_ended(query.job_id)
                    runs = await self._feed.behind(runner_id, after, limit=RUNS_AT_ONCE)
                    for run in runs:
                        for entry in await self._entries(run) if query.touches(run) else ():
                            if entry.number > after and query.takes(entry):
                                yield entry
                        after = max(after, run.first + run.counts.all - 1)
                    if runs:
                        continue
                    if query.until <= self._clock.now():
                        yield FeedEnd(reason="until has passed")
                        return
                    if ended:
                        yield FeedEnd(reason="job ended")
                        return
                    if not await self._exists(runner_id):
                        yield FeedEnd(reason="runner deleted")
                        return
                    now = frozenset(await self._feed.open_attempts(runner_id))
                    if now != watched:
                        # Their workers ship at once from now on, and not when there is enough.
                        self._signals.publish([runner_topic(worker) for _, worker in now - watched])
                        watched = now
                        break
                    left = (query.until - self._clock.now()) / 1e6
                    await waiter.wait(max(0.0, min(POLL_SECONDS, left)))

    async def _check(self, runner_id: str, query: FeedQuery) -> None:
        await self._runners.get(runner_id)
        if query.job_id and (await self._jobs.get(query.job_id)).spec.required_labels.get(RUNNER_LABEL) != runner_id:
            raise JobNotFound(job_id=query.job_id)

    async def _has_ended(self, job_id: str) -> bool:
        if not job_id:
            return False
        try:
            return (await self._jobs.get(job_id)).state.terminal
        except JobNotFound:
            return True

    async def _exists(self, runner_id: str) -> bool:
        try:
            await self._runners.get(runner_id)
        except RunnerNotFound:
            return False
        return True

    async def _newest(self, runner_id: str, query: FeedQuery, *, below: int) -> list[FeedEntry]:
        """In order of their numbers."""
        found: list[FeedEntry] = []
        while len(found) < query.limit:
            runs = await self._feed.newest(
                runner_id,
                job_id=query.job_id,
                since=query.since,
                until=query.until,
                level=query.level,
                below=below,
                limit=RUNS_AT_ONCE,
            )
            for run in runs:
                entries = [entry for entry in await self._entries(run) if query.takes(entry)]
                found += reversed(entries)
                below = run.first
                if len(found) >= query.limit:
                    break
            if len(runs) < RUNS_AT_ONCE:
                break
        return found[: query.limit][::-1]

    async def _entries(self, run: FeedRun) -> Sequence[FeedEntry]:
        """The entries of a run, numbered. Of a log that is gone: none."""
        if run.kind is FeedKind.RUNNER:
            events = await self._runners.events_named([run.event])
            return [_runner_entry(run, events[run.event])] if run.event in events else []
        if run.kind is FeedKind.EVENT:
            return [_job_entry(run)]
        try:
            job = await self._jobs.get(run.job_id)
        except JobNotFound:
            return []
        lines = lines_of(run, await self._records(run))
        return [_line_entry(run, place, line, job) for place, line in enumerate(lines)]

    async def _records(self, run: FeedRun) -> list[LogRecord]:
        first, end = first_needed(run), run.first_record + run.records
        records: list[LogRecord] = []
        while first < end and (chunks := await self._logs.chunks(run.attempt_id, first)):
            for chunk in chunks:
                records += (record for record, _ in decode(chunk.journal) if record.sequence >= first)
                first = max(first, chunk.first_sequence + chunk.records)
        return records


def _runner_entry(run: FeedRun, event: RunnerEvent) -> FeedEntry:
    level, phrase = RUNNER_PHRASES[event.kind]
    text = event.detail
    if event.kind == "state" and event.old_state is not None and event.state is not None:
        text = f"{event.old_state.lower()} -> {event.state.lower()}" + (f" ({text})" if text else "")
    if run.counts.error:
        level = FeedLevel.ERROR
    return FeedEntry(number=run.first, at=event.at, level=level, phrase=phrase, text=text)


def _job_entry(run: FeedRun) -> FeedEntry:
    level, phrase = JOB_PHRASES[run.word]
    return FeedEntry(number=run.first, at=run.first_at, level=level, phrase=phrase, job_id=run.job_id, step=run.step)


def _line_entry(run: FeedRun, place: int, line: Line, job: Job) -> FeedEntry:
    steps = job.spec.steps
    step = steps[line.step].name if line.step < len(steps) else ""
    return FeedEntry(
        number=run.first + place,
        at=line.at_ns // 1000,
        level=line.level,
        phrase="Step started" if line.marker else "",
        text=(step or str(line.step + 1)) if line.marker else line.text,
        job_id=run.job_id,
        step=step,
    )
