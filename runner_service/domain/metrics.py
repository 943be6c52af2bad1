"""Metrics of runners: samples that add up in buckets, and series over a period."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from runner_service.domain.jobs import Micros

MINUTE = 60
LEVELS: tuple[int, ...] = (60, 300, 3600)
"""Widths of the buckets that are kept, in seconds: each sample is counted in one of every width."""
KEPT_SECONDS: dict[int, int] = {60: 25 * 3600, 300: 8 * 86_400, 3600: 31 * 86_400}
"""How long buckets of a width are kept; what is older is there in wider ones only."""


class Bucket(NamedTuple):
    """Some samples of one runner, added up."""

    runner_id: str
    width: int
    """Seconds."""
    start: int
    """Seconds since 1970."""
    samples: int
    cpu: float
    """Sum of the samples; `cpu_most` their maximum."""
    cpu_most: float
    memory: float
    memory_most: float
    disk: float
    active: float
    """Sum of the numbers of active jobs."""


class Point(NamedTuple):
    """One value of a series."""

    at: Micros
    """Start of its bucket."""
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What happened on a runner in a period. Gaps are left as gaps."""

    cpu: tuple[Point, ...] = ()
    memory: tuple[Point, ...] = ()
    disk: tuple[Point, ...] = ()
    active: tuple[Point, ...] = ()
    cpu_average: float = 0.0
    cpu_most: float = 0.0
    memory_average: float = 0.0
    memory_most: float = 0.0
    jobs_executed: int = 0


def plan(*, since: int, until: int, resolution: int, now: int) -> list[tuple[int, int, int]]:
    """Which widths to read for a period, as (width, since, until) in order of time, without overlap.

    Each part comes in the widest buckets that still give the resolution, or in the next wider ones that are kept so
    long.
    """
    base = max((width for width in LEVELS if resolution % width == 0), default=min(LEVELS))
    parts = []
    end = until
    for width in LEVELS[LEVELS.index(base) :]:
        kept = now - KEPT_SECONDS[width]
        # Whole buckets of all widths only, so that no sample is counted twice.
        begin = max(since - since % width, kept + -kept % max(LEVELS))
        if begin < end:
            parts.append((width, begin, end))
            end = begin
    return parts[::-1]


def series(buckets: Iterable[Bucket], *, resolution: int, jobs_executed: int = 0) -> Metrics:
    """Buckets in order of time as series: those of one resolution averaged over their samples."""
    cpu: list[Point] = []
    memory: list[Point] = []
    disk: list[Point] = []
    active: list[Point] = []
    samples = 0
    cpu_sum = cpu_most = memory_sum = memory_most = 0.0
    for start, group in _grouped(buckets, resolution):
        count = sum(one.samples for one in group)
        at = start * 1_000_000
        for points, values in (
            (cpu, [one.cpu for one in group]),
            (memory, [one.memory for one in group]),
            (disk, [one.disk for one in group]),
            (active, [one.active for one in group]),
        ):
            points.append(Point(at, round(sum(values) / count, 2)))
        samples += count
        cpu_sum += sum(one.cpu for one in group)
        memory_sum += sum(one.memory for one in group)
        cpu_most = max(cpu_most, *(one.cpu_most for one in group))
        memory_most = max(memory_most, *(one.memory_most for one in group))
    return Metrics(
        cpu=tuple(cpu),
        memory=tuple(memory),
        disk=tuple(disk),
        active=tuple(active),
        cpu_average=round(cpu_sum / samples, 2) if samples else 0.0,
        cpu_most=round(cpu_most, 2),
        memory_average=round(memory_sum / samples, 2) if samples else 0.0,
        memory_most=round(memory_most, 2),
        jobs_executed=jobs_executed,
    )


def _grouped(buckets: Iterable[Bucket], resolution: int) -> Iterable[tuple[int, list[Bucket]]]:
    start, group = 0, list[Bucket]()
    for bucket in buckets:
        if not bucket.samples:
            continue
        # A bucket wider than the resolution is one point of its own.
        first = bucket.start - bucket.start % max(resolution, bucket.width)
        if group and first != start:
            yield start, group
            group = []
        start = first
        group.append(bucket)
    if group:
        yield start, group
