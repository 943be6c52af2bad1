"""Metrics: buckets that add up, and the plan by which a period is read."""

from __future__ import annotations

from itertools import pairwise

import pytest

from runner_service.domain.metrics import KEPT_SECONDS, Bucket, plan, series
from runner_service.store import SqlStore

HOUR, DAY = 3600, 86_400
NOW = 1_700_000_000


def bucket(start: int, *, width: int = 60, samples: int = 1, cpu: float = 10.0, active: float = 1.0) -> Bucket:
    return Bucket("r" * 36, width, start, samples, cpu, cpu, 50.0 * samples, 50.0, 5.0 * samples, active)


async def test_samples_of_one_bucket_add_up(store: SqlStore) -> None:
    await store.samples.add([bucket(60, cpu=10)])
    await store.samples.add([bucket(60, cpu=30), bucket(120, cpu=5)])
    found = await store.samples.read("r" * 36, [(60, 0, 180)])
    assert [(one.start, one.samples, one.cpu, one.cpu_most) for one in found] == [
        (60, 2, 40.0, 30.0),
        (120, 1, 5.0, 5.0),
    ]
    assert await store.samples.read("r" * 36, [(60, 61, 120)]) == []


async def test_old_buckets_of_a_width_go(store: SqlStore) -> None:
    await store.samples.add([bucket(60), bucket(120), bucket(300, width=300)])
    assert await store.samples.expire(60, before=120) == 1
    assert await store.samples.expire(60, before=120) == 0
    assert len(await store.samples.read("r" * 36, [(60, 0, 999), (300, 0, 999)])) == 2


@pytest.mark.parametrize("period", [HOUR, DAY, 7 * DAY, 30 * DAY])
@pytest.mark.parametrize("resolution", [60, 300, 3600])
def test_a_period_is_read_once_as_finely_as_it_is_kept(period: int, resolution: int) -> None:
    parts = plan(since=NOW - period, until=NOW, resolution=resolution, now=NOW)
    assert parts[0][1] <= NOW - period < parts[0][1] + parts[0][0]
    assert parts[-1][2] == NOW
    assert all(earlier[2] == later[1] for earlier, later in pairwise(parts))
    assert parts[-1][0] == resolution
    for width, since, _ in parts:
        assert since >= NOW - KEPT_SECONDS[width]
        assert since % width == 0


def test_a_month_by_the_minute_gets_coarser_with_age() -> None:
    assert [width for width, _, _ in plan(since=NOW - 30 * DAY, until=NOW, resolution=60, now=NOW)] == [3600, 300, 60]


def test_buckets_are_averaged_over_their_samples_and_gaps_stay_gaps() -> None:
    found = series([bucket(0, samples=1, cpu=10), bucket(60, samples=3, cpu=90), bucket(900)], resolution=300)
    assert found.cpu == ((0, 25.0), (900_000_000, 10.0))
    assert (found.cpu_average, found.cpu_most) == (22.0, 90.0)
    assert found.memory_average == 50.0


def test_nothing_is_zero() -> None:
    found = series([], resolution=60)
    assert (found.cpu, found.cpu_average, found.memory_most) == ((), 0.0, 0.0)
