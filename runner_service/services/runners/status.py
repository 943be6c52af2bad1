"""How runners are: load, last contact, health."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from runner_service.domain.jobs import Micros
from runner_service.domain.runner_health import (
    CONNECTIVITY,
    Check,
    Health,
    HealthReport,
    available,
    health_of,
    wanted_checks,
)
from runner_service.domain.runners import Load, Runner, RunnerProfile, RunnerState, uptime_percentage
from runner_service.ports.clock import Clock
from runner_service.ports.signals import RUNNERS, Signals, runner_state_topic, runner_topic
from runner_service.ports.store import Changed, RunnerFilter, RunnerStore, Statistics, Tally

ANSWER_SECONDS = 5.0
"""A worker that has not answered a health check by then cannot be reached."""
LOOK_SECONDS = 0.5
COMING_SECONDS = 3.0
"""So long after its start the server's own worker is waited for, before what it hosts counts as cut off."""


def asked_for_check(runner: Runner, profile: RunnerProfile, now: Micros, active: int) -> Changed:
    """A `RunnerChange`: its worker is to make its checks, under the next number."""
    # Numbers grow with time, also over registrations and in the records of those that it executes for.
    number = max(runner.told.check + 1, now // 1000)
    return Changed(runner=replace(runner, told=replace(runner.told, check=number)), profile=profile)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerView:
    """A runner with everything that is known of it now."""

    runner: Runner
    profile: RunnerProfile
    tally: Tally
    now: Micros
    host: Runner | None = None
    """For a hosted one: the runner that executes its jobs, if there is one."""

    @property
    def worker(self) -> Runner | None:
        """Whose worker executes its jobs."""
        return self.host if self.runner.hosted else self.runner

    @property
    def load(self) -> Load:
        """Of the machine that executes its jobs; zeros before the first measure."""
        return (self.worker or self.runner).load

    @property
    def last_seen_at(self) -> Micros:
        """When it, or who executes its jobs, was heard of last; its registration before that."""
        seen = self.worker.last_seen_at if self.worker is not None else 0
        return max(seen, self.runner.registered_at)

    @property
    def reachable(self) -> bool:
        """Somebody who executes its jobs is counted on."""
        return self.worker is not None and self.worker.lease_until > self.now

    @property
    def uptime_percentage(self) -> float:
        return uptime_percentage(self.runner, self.now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The outcome of health checks."""

    health: Health
    checks: Mapping[str, Check]
    at: Micros
    capabilities: Mapping[str, bool]


class RunnerStatus:
    """Looks at runners, and asks them."""

    def __init__(self, *, store: RunnerStore, signals: Signals, clock: Clock) -> None:
        self._store = store
        self._signals = signals
        self._clock = clock
        self._awaited_until = 0.0

    def await_local(self) -> None:
        """The server has started a worker of its own: what it hosts is not cut off before that can be here."""
        self._awaited_until = time.monotonic() + COMING_SECONDS

    async def view(self, runner_id: str) -> RunnerView:
        """One runner. Raises `RunnerNotFound`."""
        runner = await self._store.get(runner_id)
        profile = await self._store.profile(runner_id)
        (view,) = await self._views([runner], {runner_id: profile})
        return view

    async def page(self, filter: RunnerFilter, *, limit: int, offset: int = 0) -> tuple[Sequence[RunnerView], int]:
        """Some runners in order of registration, and how many match."""
        page = await self._store.find(filter, limit=limit, offset=offset)
        return await self._views(page.runners, page.profiles), page.total

    async def of(self, runners: Sequence[Runner]) -> Sequence[RunnerView]:
        """These runners, in their order."""
        profiles = await self._store.profiles([one.runner_id for one in runners])
        # One that was deleted in between is none any more.
        return await self._views([one for one in runners if one.runner_id in profiles], profiles)

    async def _views(self, runners: Sequence[Runner], profiles: Mapping[str, RunnerProfile]) -> Sequence[RunnerView]:
        tallies = await self._store.tallies([runner.runner_id for runner in runners])
        host = await self._store.local() if any(runner.hosted for runner in runners) else None
        now = self._clock.now()
        return [
            RunnerView(
                runner=runner,
                profile=profiles[runner.runner_id],
                tally=tallies[runner.runner_id],
                now=now,
                host=host if runner.hosted else None,
            )
            for runner in runners
        ]

    async def statistics(self, runner_id: str) -> Statistics:
        """What became of the jobs of a runner."""
        return await self._store.statistics(runner_id)

    async def last(self, view: RunnerView) -> Found:
        """The outcome of the last checks. Before the first, only its connection is known."""
        view = await self._with_worker(view)
        worker = view.worker
        _, report = await self._store.check(view.runner.runner_id)
        if report is None and worker is not None:
            _, report = await self._store.check(worker.runner_id)
        checks = dict(report.checks) if report is not None else {}
        if not view.reachable:
            checks[CONNECTIVITY] = Check(passed=False, message="its worker is away")
        else:
            checks.setdefault(CONNECTIVITY, Check(passed=True))
        return _found(view, checks, report.at if report is not None else view.last_seen_at)

    async def check(self, runner_id: str) -> Found:
        """Has a runner make its checks now; one that does not answer is UNHEALTHY. Raises `RunnerNotFound`."""
        view = await self._with_worker(await self.view(runner_id))
        worker = view.worker
        checks: dict[str, Check] = {}
        number = 0
        if worker is None or not view.reachable:
            checks[CONNECTIVITY] = Check(passed=False, message="its worker is away")
        else:
            number, took, report = await self._ask(worker.runner_id)
            if report is None:
                problem = f"its worker did not answer within {ANSWER_SECONDS:g} s"
                checks[CONNECTIVITY] = Check(passed=False, message=problem)
            else:
                checks = {**report.checks, CONNECTIVITY: Check(passed=True, response_ms=round(took * 1000, 1))}
        at = self._clock.now()
        if not number:
            number = at // 1000
        await self._store.save_check(runner_id, number, HealthReport(checks=checks))
        return _found(view, checks, at)

    async def _with_worker(self, view: RunnerView) -> RunnerView:
        """A hosted runner, once the server's own worker is there, if that may still be on its way."""
        while view.runner.hosted and not view.reachable:
            left = self._awaited_until - time.monotonic()
            if left <= 0:
                break
            with self._signals.subscribe(RUNNERS) as waiter:
                await waiter.wait(min(LOOK_SECONDS / 5, left))
            view = await self.view(view.runner.runner_id)
        return view

    async def _ask(self, runner_id: str) -> tuple[int, float, HealthReport | None]:
        """The number of the check, how long its answer took in seconds, and the answer."""
        began = time.monotonic()
        with self._signals.subscribe(runner_state_topic(runner_id)) as waiter:
            runner, _ = await self._store.change(runner_id, asked_for_check)
            number = runner.told.check
            self._signals.publish((runner_topic(runner_id),))
            while True:
                answered, report = await self._store.check(runner_id)
                took = time.monotonic() - began
                if answered >= number:
                    return number, took, report
                if took >= ANSWER_SECONDS:
                    return number, took, None
                await waiter.wait(min(LOOK_SECONDS, ANSWER_SECONDS - took))


def _found(view: RunnerView, checks: Mapping[str, Check], at: Micros) -> Found:
    wanted = {name: checks[name] for name in wanted_checks(view.runner.kind) if name in checks}
    reachable = view.reachable and view.runner.state is RunnerState.ACTIVE
    return Found(
        health=health_of(wanted),
        checks=wanted,
        at=at,
        capabilities={
            capability: available(capability, checks, reachable=reachable) for capability in view.profile.capabilities
        },
    )
