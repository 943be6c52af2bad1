"""What workers say about their machines, as it comes with their Syncs: metrics, checks, and moves of state."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from runner_service.domain.dispatch import Beat, BeatAnswer
from runner_service.domain.metrics import KEPT_SECONDS, LEVELS, Bucket
from runner_service.domain.runner_health import HealthReport
from runner_service.domain.runners import Runner, RunnerState
from runner_service.ports.clock import Clock
from runner_service.ports.signals import RUNNERS, Signals, feed_topic, runner_state_topic, runner_topic
from runner_service.ports.store import RunnerStore, SampleStore
from runner_service.services.runners.status import asked_for_check

log = logging.getLogger(__name__)

SAMPLE_SECONDS = 5
"""A runner's Syncs that come faster are no further samples."""
FLUSH_SECONDS = 10.0
"""Between writes of what was sampled; a server that dies loses so much of its metrics."""
EXPIRE_EVERY = 360
"""Flushes between deletions of what is over its time: once an hour."""


EVENTS_SECONDS = 30 * 86_400
"""How long what happened to runners is kept."""


class Monitor:
    """Takes note. Holds nothing that matters but the samples of the last seconds."""

    def __init__(self, *, runners: RunnerStore, samples: SampleStore, signals: Signals, clock: Clock) -> None:
        self._runners = runners
        self._samples = samples
        self._signals = signals
        self._clock = clock
        self._sampled: dict[str, int] = {}
        self._states: dict[str, RunnerState] = {}
        self._sessions: dict[str, str] = {}
        self._buckets: dict[tuple[str, int, int], Bucket] = {}
        self._flushing = asyncio.Lock()

    async def heard(self, beat: Beat, answer: BeatAnswer) -> None:
        """A Sync came in and was taken."""
        runner = answer.runner
        if beat.checks:
            await self._runners.save_check(runner.runner_id, beat.check, HealthReport(checks=beat.checks))
            self._signals.publish((runner_state_topic(runner.runner_id),))
        if self._states.get(runner.runner_id) is not runner.state:
            if runner.runner_id in self._states:
                topics = (RUNNERS, runner_state_topic(runner.runner_id), feed_topic(runner.runner_id))
                self._signals.publish(topics)
            self._states[runner.runner_id] = runner.state
        if beat.load is not None and not beat.check and self._sessions.get(runner.runner_id) != beat.session_id:
            # A worker that has just begun: what it can is known from a look, not from its word.
            self._sessions[runner.runner_id] = beat.session_id
            await self._runners.change(runner.runner_id, asked_for_check)
            self._signals.publish((runner_topic(runner.runner_id),))
        if beat.load is not None:
            self._sample(runner, answer.active)

    def _sample(self, runner: Runner, active: Mapping[str, int]) -> None:
        now = self._clock.now() // 1_000_000
        if now - self._sampled.get(runner.runner_id, 0) < SAMPLE_SECONDS:
            return
        self._sampled[runner.runner_id] = now
        others = {runner_id: count for runner_id, count in active.items() if runner_id != runner.runner_id}
        own = active.get(runner.runner_id, 0)
        load = runner.load
        for width in LEVELS:
            start = now - now % width
            self._add(
                Bucket(runner.runner_id, width, start, 1, load.cpu, load.cpu, load.memory, load.memory, load.disk, own)
            )
            # Of those that it executes for, the machine is its own: what it measures is kept once.
            for hosted, count in others.items():
                self._add(Bucket(hosted, width, start, 0, 0.0, 0.0, 0.0, 0.0, 0.0, count))

    def _add(self, one: Bucket) -> None:
        key = (one.runner_id, one.width, one.start)
        before = self._buckets.get(key)
        if before is not None:
            one = Bucket(
                *key,
                before.samples + one.samples,
                before.cpu + one.cpu,
                max(before.cpu_most, one.cpu_most),
                before.memory + one.memory,
                max(before.memory_most, one.memory_most),
                before.disk + one.disk,
                before.active + one.active,
            )
        self._buckets[key] = one

    async def flush(self) -> None:
        """Writes what was sampled. All that was sampled before the call is stored when it returns."""
        async with self._flushing:
            buckets, self._buckets = self._buckets, {}
            if buckets:
                await self._samples.add(list(buckets.values()))

    async def expire(self) -> None:
        """Deletes what is over its time."""
        now = self._clock.now() // 1_000_000
        for width in LEVELS:
            while await self._samples.expire(width, before=now - KEPT_SECONDS[width]):
                pass
        await self._runners.expire_events(before=(now - EVENTS_SECONDS) * 1_000_000)

    async def run(self) -> None:
        """Flushes for ever; what fails is logged, and lost."""
        flushes = 0
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                await self.flush()
                if flushes % EXPIRE_EVERY == 0:
                    await self.expire()
                flushes += 1
            except Exception:
                log.exception("cannot write metrics", extra={"action": "metrics_failed"})
