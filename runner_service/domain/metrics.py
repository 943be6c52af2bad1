"""Metrics of runners: samples that add up in buckets, and series over a period."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
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
    found = [bucket for bucket in buckets if bucket.samples]
    if any(bucket.width < resolution for bucket in found):
        found = list(_merged(found, resolution))
    if not found:
        return Metrics(jobs_executed=jobs_executed)
    # Column by column: a month is thousands of points.
    _, _, starts, counts, cpu, cpu_most, memory, memory_most, disk, active = zip(*found, strict=True)
    times = [start * 1_000_000 for start in starts]
    samples = sum(counts)

    def points(sums: Sequence[float]) -> tuple[Point, ...]:
        averages = [round(total / count, 2) for total, count in zip(sums, counts, strict=True)]
        return tuple(map(_point, zip(times, averages, strict=True)))

    return Metrics(
        cpu=points(cpu),
        memory=points(memory),
        disk=points(disk),
        active=points(active),
        cpu_average=round(sum(cpu) / samples, 2),
        cpu_most=round(max(cpu_most), 2),
        memory_average=round(sum(memory) / samples, 2),
        memory_most=round(max(memory_most), 2),
        jobs_executed=jobs_executed,
    )


_point: Callable[[tuple[Micros, float]], Point] = partial(tuple.__new__, Point)
"""`Point` of a pair, without the detour of its constructor over names."""


def _merged(buckets: Iterable[Bucket], resolution: int) -> Iterator[Bucket]:
    """Each group of buckets of one resolution as one; a bucket that is wider is one of its own."""
    for start, group in groupby(buckets, lambda one: one.start - one.start % max(resolution, one.width)):
        one, *others = group
        for other in others:
            one = one._replace(
                samples=one.samples + other.samples,
                cpu=one.cpu + other.cpu,
                cpu_most=max(one.cpu_most, other.cpu_most),
                memory=one.memory + other.memory,
                memory_most=max(one.memory_most, other.memory_most),
                disk=one.disk + other.disk,
                active=one.active + other.active,
            )
        yield one._replace(start=start)
