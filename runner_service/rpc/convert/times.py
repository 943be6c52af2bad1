"""Timestamps and durations."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from runner_service.domain.errors import InvalidArgument
from runner_service.domain.jobs import Micros


def timestamp(at: Micros | None) -> Timestamp | None:
    """``None`` stays unset."""
    if at is None:
        return None
    seconds, micros = divmod(at, 1_000_000)
    return Timestamp(seconds=seconds, nanos=micros * 1000)


def timestamp_ns(at: int) -> Timestamp:
    seconds, nanos = divmod(at, 1_000_000_000)
    return Timestamp(seconds=seconds, nanos=nanos)


def micros(at: Timestamp) -> Micros:
    return at.seconds * 1_000_000 + at.nanos // 1000


def duration(seconds: float) -> Duration:
    total = round(seconds * 1_000_000_000)
    whole = int(total / 1_000_000_000)
    return Duration(seconds=whole, nanos=total - whole * 1_000_000_000)


def duration_us(value: int) -> Duration:
    seconds, rest = divmod(value, 1_000_000)
    return Duration(seconds=seconds, nanos=rest * 1000)


def seconds(value: Duration) -> float:
    # One division of whole numbers: what was a float before it became a duration is the same float again.
    return (value.seconds * 1_000_000_000 + value.nanos) / 1_000_000_000


def micros_of(value: Duration) -> int:
    return value.seconds * 1_000_000 + value.nanos // 1000


def check_not_negative(field: str, value: Duration) -> float:
    """Raises `InvalidArgument` for a negative duration."""
    if value.seconds < 0 or value.nanos < 0:
        raise InvalidArgument(field=field, problem="give a duration of 0 or more")
    return seconds(value)
