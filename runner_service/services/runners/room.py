"""All services of runners, put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from runner_service.ports.clock import Clock
from runner_service.ports.signals import Signals
from runner_service.ports.store import AnswerStore, RunnerFeedStore, RunnerStore, SampleStore
from runner_service.services.jobs import Jobs
from runner_service.services.logs import LogReader
from runner_service.services.runners.batch import RunnerBatch
from runner_service.services.runners.control import RunnerControl
from runner_service.services.runners.credentials import RunnerCredentials
from runner_service.services.runners.feed import RunnerFeeds
from runner_service.services.runners.metrics import RunnerMetrics
from runner_service.services.runners.monitor import Monitor
from runner_service.services.runners.registry import Runners
from runner_service.services.runners.status import RunnerStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerServices:
    """What there is to do with runners."""

    registry: Runners
    credentials: RunnerCredentials
    control: RunnerControl
    status: RunnerStatus
    metrics: RunnerMetrics
    feeds: RunnerFeeds
    batch: RunnerBatch
    monitor: Monitor

    @classmethod
    def over(
        cls,
        runners: RunnerStore,
        feed: RunnerFeedStore,
        samples: SampleStore,
        answers: AnswerStore,
        credentials: RunnerCredentials,
        *,
        signals: Signals,
        clock: Clock,
        jobs: Jobs,
        reader: LogReader,
    ) -> Self:
        """Over the parts of an open store."""
        registry = Runners(store=runners, clock=clock, signals=signals, credentials=credentials)
        control = RunnerControl(store=runners, jobs=jobs, signals=signals, clock=clock)
        monitor = Monitor(runners=runners, samples=samples, signals=signals, clock=clock)
        return cls(
            registry=registry,
            credentials=credentials,
            control=control,
            status=RunnerStatus(store=runners, signals=signals, clock=clock),
            metrics=RunnerMetrics(runners=runners, samples=samples, monitor=monitor, clock=clock),
            feeds=RunnerFeeds(
                runners=runners,
                feed=feed,
                jobs=jobs,
                logs=reader,
                signals=signals,
                clock=clock,
            ),
            batch=RunnerBatch(runners=registry, control=control, answers=answers),
            monitor=monitor,
        )
