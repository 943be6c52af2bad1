"""Metrics of a runner over a period."""

from __future__ import annotations

from collections.abc import Sequence

from runner_service.domain.errors import InvalidArgument
from runner_service.domain.metrics import KEPT_SECONDS, MINUTE, Bucket, Metrics, plan, series
from runner_service.domain.runners import Runner
from runner_service.ports.clock import Clock
from runner_service.ports.store import RunnerStore, SampleStore
from runner_service.services.runners.monitor import Monitor

MOST_SECONDS = 30 * 86_400
MOST_POINTS = 50_000


class RunnerMetrics:
    """Reads what the monitor wrote."""

    def __init__(self, *, runners: RunnerStore, samples: SampleStore, monitor: Monitor, clock: Clock) -> None:
        self._runners = runners
        self._samples = samples
        self._monitor = monitor
        self._clock = clock

    async def query(self, runner_id: str, *, period: int = 86_400, resolution: int = 300) -> Metrics:
        """What was measured in the ``period`` that ends now, in buckets of ``resolution``; both in seconds.

        Raises:
            RunnerNotFound: No such runner.
            InvalidArgument: More than is kept, or nothing that buckets can be made of.
        """
        if not MINUTE <= period <= MOST_SECONDS:
            raise InvalidArgument(field="period", problem="give one minute to 30 days")
        if resolution % MINUTE or not 0 < resolution <= max(KEPT_SECONDS):
            raise InvalidArgument(field="resolution", problem="give whole minutes, at most an hour")
        runner = await self._runners.get(runner_id)
        await self._monitor.flush()
        micros = self._clock.now()
        now = micros // 1_000_000
        parts = plan(since=now - period, until=now + 1, resolution=resolution, now=now)
        buckets = await self._samples.read(runner_id, parts)
        if runner.hosted:
            buckets = await self._with_host(runner, buckets, parts)
        statistics = await self._runners.statistics(runner_id, since=micros - period * 1_000_000)
        return series(buckets, resolution=resolution, jobs_executed=statistics.executed)

    async def _with_host(
        self, runner: Runner, own: Sequence[Bucket], parts: Sequence[tuple[int, int, int]]
    ) -> Sequence[Bucket]:
        """The machine's measures are those of the runner that executes for it, its jobs are its own."""
        host = await self._runners.local()
        if host is None:
            return []
        active = {(one.width, one.start): one.active for one in own}
        since = runner.registered_at // 1_000_000
        return [
            one._replace(active=active.get((one.width, one.start), 0.0))
            for one in await self._samples.read(host.runner_id, parts)
            if one.start + one.width > since
        ]
