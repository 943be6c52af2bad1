"""Use cases of control: start, stop, restart, drain, and the loop by which runners arrive where they were told to."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace

from runner_service.domain.errors import JobFinished, JobNotFound, RunnerUnavailable
from runner_service.domain.jobs import Micros
from runner_service.domain.runners import Runner, RunnerProfile, RunnerState, Told, runner_transition
from runner_service.ports.clock import Clock
from runner_service.ports.signals import (
    EVENTS,
    QUEUE,
    RUNNERS,
    Signals,
    feed_topic,
    job_topic,
    runner_state_topic,
    runner_topic,
)
from runner_service.ports.store import Changed, Mark, RunnerChange, RunnerStore
from runner_service.services.jobs import Jobs

log = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0
"""Between looks for runners that have arrived; whoever waits for one looks more often."""
LOOK_SECONDS = 0.2
SILENCE_SECONDS = 90.0
"""A runner that was not heard of for this long is an ERROR."""
GRACEFUL_SECONDS = 300.0
"""How long a graceful stop waits when nothing is said."""
START_SECONDS = 15.0
"""A worker that was told to start says so within this time."""
RESTART_SECONDS = 60.0
"""One that was told to restart is back within this time, once its jobs have ended."""
KILL_SECONDS = 20.0
"""Whoever waits for a stop gives up this long after the jobs were cancelled: it goes on without them."""


class RunnerControl:
    """Tells runners what to do."""

    def __init__(self, *, store: RunnerStore, jobs: Jobs, signals: Signals, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._jobs = jobs
        self._signals = signals
        self._began = time.monotonic()

    async def start(self, runner_id: str, *, reason: str = "", mark: Mark | None = None) -> Runner:
        """Lets a runner take work. One that does or will changes nothing.

        Raises:
            RunnerNotFound: No such runner.
            RunnerUnavailable: Its worker is away.
        """

        def change(runner: Runner, profile: RunnerProfile, now: Micros, active: int) -> Changed:
            return _starting(runner, profile, now, reason)

        return await self._tell(runner_id, change, mark)

    async def stop(
        self,
        runner_id: str,
        *,
        graceful: bool = False,
        timeout: float | None = None,
        reason: str = "",
        mark: Mark | None = None,
    ) -> Runner:
        """Lets a runner take no work, ends its jobs (at once, or after ``timeout`` seconds unless they end by
        themselves), and returns when it has stopped.

        Raises:
            RunnerNotFound: No such runner.
            RunnerUnavailable: Its worker is away, or goes away meanwhile, or its jobs do not end. What it was told
                holds when it comes back.
        """
        seconds = (GRACEFUL_SECONDS if timeout is None else timeout) if graceful else 0.0
        runner = await self.drain(runner_id, timeout=seconds, reason=reason, mark=mark)
        deadline = time.monotonic() + seconds + KILL_SECONDS
        with self._signals.subscribe(runner_state_topic(runner_id)) as waiter:
            while runner.state is RunnerState.STOPPING and time.monotonic() < deadline:
                await waiter.wait(LOOK_SECONDS)
                await self.sweep()
                runner = await self._store.get(runner_id)
                if not runner.hosted and runner.lease_until <= self._clock.now():
                    raise RunnerUnavailable(runner_id=runner_id, problem="its worker does not answer")
        if runner.state is RunnerState.STOPPING:
            raise RunnerUnavailable(runner_id=runner_id, problem="its jobs have not ended yet")
        return runner

    async def drain(
        self, runner_id: str, *, timeout: float | None = None, reason: str = "", mark: Mark | None = None
    ) -> Runner:
        """The same without waiting; ``timeout`` None: its jobs have all the time they need. Raises as `start`."""

        def change(runner: Runner, profile: RunnerProfile, now: Micros, active: int) -> Changed:
            cancel_at = 0 if timeout is None else now + round(timeout * 1e6)
            return _stopping(runner, profile, now, active, Told(paused=True, cancel_at=cancel_at, reason=reason))

        return await self._tell(runner_id, change, mark)

    async def restart(
        self,
        runner_id: str,
        *,
        graceful: bool = False,
        timeout: float | None = None,
        reason: str = "",
        mark: Mark | None = None,
    ) -> Runner:
        """Ends the jobs of a runner as `stop` does and lets it begin anew; returns at once. One that is stopped is
        started. Raises as `start`."""
        seconds = (GRACEFUL_SECONDS if timeout is None else timeout) if graceful else 0.0

        def change(runner: Runner, profile: RunnerProfile, now: Micros, active: int) -> Changed:
            if runner.state is RunnerState.INACTIVE:
                return _starting(runner, profile, now, reason)
            _check_reachable(runner, now)
            cancel_at = now + round(seconds * 1e6)
            told = Told(
                cancel_at=cancel_at,
                settle_by=cancel_at + round(RESTART_SECONDS * 1e6),
                old_session=runner.session_id,
                check=runner.told.check,
                reason=reason,
            )
            if runner.state is RunnerState.RESTARTING:
                return Changed(
                    runner=replace(runner, told=replace(told, old_session=runner.told.old_session)), profile=profile
                )
            moved = runner_transition(runner, RunnerState.RESTARTING, at=now, told=told)
            return Changed(runner=moved, profile=profile, reason=reason)

        return await self._tell(runner_id, change, mark)

    async def _tell(self, runner_id: str, change: RunnerChange, mark: Mark | None) -> Runner:
        runner, _ = await self._store.change(runner_id, change, mark=mark)
        self._signals.publish((RUNNERS, QUEUE, *_topics(runner_id)))
        await self.sweep()
        return runner

    async def sweep(self) -> None:
        """Moves on whoever has arrived, cancels what has had its time."""
        # After a start of the server nobody was heard of for as long as it was away.
        settled = time.monotonic() - self._began > SILENCE_SECONDS
        advance = await self._store.advance(silence_seconds=SILENCE_SECONDS if settled else 1e9)
        topics = [topic for runner_id in advance.moved for topic in _topics(runner_id)]
        if advance.moved:
            topics += (RUNNERS, QUEUE)
        if advance.released:
            topics += (QUEUE, EVENTS, *map(job_topic, advance.released))
        if topics:
            self._signals.publish(topics)
        for job_id in advance.overdue:
            try:
                await self._jobs.cancel(job_id, by="runner", reason="its runner was stopped")
            except (JobFinished, JobNotFound):
                pass

    async def run(self) -> None:
        """Sweeps for ever; what fails is logged and tried again."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self.sweep()
            except Exception:
                log.exception("cannot sweep runners, trying again", extra={"action": "runner_sweep_failed"})


def _topics(runner_id: str) -> tuple[str, ...]:
    return runner_topic(runner_id), runner_state_topic(runner_id), feed_topic(runner_id)


def _check_reachable(runner: Runner, now: Micros) -> None:
    if not runner.hosted and runner.lease_until <= now:
        raise RunnerUnavailable(runner_id=runner.runner_id, problem="its worker is away")


def _starting(runner: Runner, profile: RunnerProfile, now: Micros, reason: str) -> Changed:
    if runner.state in (RunnerState.ACTIVE, RunnerState.STARTING, RunnerState.RESTARTING):
        return Changed(runner=runner, profile=profile)
    _check_reachable(runner, now)
    told = Told(settle_by=now + round(START_SECONDS * 1e6), check=runner.told.check, reason=reason)
    moved = runner_transition(runner, RunnerState.STARTING, at=now, told=told)
    return Changed(runner=moved, profile=profile, reason=reason)


def _stopping(runner: Runner, profile: RunnerProfile, now: Micros, active: int, told: Told) -> Changed:
    if runner.state is RunnerState.INACTIVE:
        return Changed(runner=runner, profile=profile)
    _check_reachable(runner, now)
    told = replace(told, check=runner.told.check)
    events = (("told", told.reason),) if told.reason else ()
    if runner.state is RunnerState.STOPPING:
        return Changed(runner=replace(runner, told=told), profile=profile, events=events)
    # Nobody has to be waited for: it has stopped.
    done = runner.hosted and not active
    to = RunnerState.INACTIVE if done else RunnerState.STOPPING
    moved = runner_transition(runner, to, at=now, told=Told(paused=True, check=told.check) if done else told)
    return Changed(runner=moved, profile=profile, reason=told.reason)
