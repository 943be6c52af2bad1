"""Timestamps, durations and field masks as text, both ways."""

from __future__ import annotations

import functools
import re
from datetime import datetime, timedelta
from decimal import Decimal

from gateway.codec.errors import Refused

_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (prints without an offset)
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII)
_DURATION = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,9}))?s", re.ASCII)
_UNITS = re.compile(
    r"(?=.)(?:\d{1,9}(?:\.\d{1,9})?h)?(?:\d{1,9}(?:\.\d{1,9})?m)?(?:\d{1,9}(?:\.\d{1,9})?s)?(?:\d{1,9}ms)?", re.ASCII
)
_NANOS = {"h": 3_600_000_000_000, "m": 60_000_000_000, "s": 1_000_000_000, "ms": 1_000_000}
_MAX_DURATION = 315_576_000_000  # seconds: ten thousand years
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # years 1 to 9999
_MINUTE_TEXTS = [f"{minute // 60:02d}:{minute % 60:02d}:" for minute in range(1440)]
_SECOND_TEXTS = [f"{second:02d}" for second in range(60)]
_UPPER = re.compile("[A-Z]")
_LOWER = re.compile("_([a-z])")
_MASK_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)

TIMESTAMP = 'a time like "2026-01-31T12:00:00Z"'
DURATION = 'a duration like "1.5s"'
FIELD_MASK = 'field paths separated by commas, like "title,author.name"'


def timestamp_text(seconds: int, nanos: int, digits: int) -> str:
    """RFC 3339 in UTC with ``digits`` fractional digits (cut, not rounded); 0: as many as needed, in threes."""
    if not digits and not nanos % 1_000 and nanos % 1_000_000 and 0 < nanos < 1_000_000_000:
        return f"{_second_text(seconds)}.{str(1_000_000 + nanos // 1_000)[1:]}Z"  # what most clocks give
    if not 0 <= nanos < 1_000_000_000:
        raise ValueError("a Timestamp's nanos are out of range")
    text = _second_text(seconds)
    if digits:
        return f"{text}.{nanos:09d}"[: 20 + digits] + "Z"
    return f"{text}{_fraction(nanos)}Z"


@functools.lru_cache(maxsize=256)
def _second_text(seconds: int) -> str:
    """Times come in clusters: of one job, of a page of events."""
    day, rest = divmod(seconds, 86_400)
    minute, second = divmod(rest, 60)
    return f"{_day_text(day)}{_MINUTE_TEXTS[minute]}{_SECOND_TEXTS[second]}"


@functools.lru_cache(maxsize=256)
def _day_text(day: int) -> str:
    """Of a series of a month a handful of days are thousands of times."""
    return (_NAIVE_EPOCH + timedelta(days=day)).isoformat()[:11]


def duration_text(seconds: int, nanos: int) -> str:
    """Seconds with a fraction in threes and the suffix ``s``."""
    if not nanos:
        return f"{seconds}s"
    sign = "-" if seconds < 0 or nanos < 0 else ""
    return f"{sign}{abs(seconds)}{_fraction(abs(nanos))}s"


def _fraction(nanos: int) -> str:
    if nanos == 0:
        return ""
    # The digits after a one in front: a third of the time that a format with leading zeros takes.
    if nanos % 1_000_000 == 0:
        return f".{str(1_000 + nanos // 1_000_000)[1:]}"
    if nanos % 1_000 == 0:
        return f".{str(1_000_000 + nanos // 1_000)[1:]}"
    return f".{str(1_000_000_000 + nanos)[1:]}"


def parse_timestamp(text: str) -> tuple[int, int]:
    """(seconds, nanos) since the epoch; any offset, up to nine fractional digits, years 1 to 9999."""
    # The form that we print ourselves, and most others do: whole or with micros, in UTC.
    if text[26:] == "Z" and text[19] == ".":
        micros = text[20:26]
        if micros.isdecimal() and micros.isascii():
            seconds = _known_second(text[:19])
            if seconds is not None:
                return seconds, int(micros) * 1000
    elif text[19:] == "Z":
        seconds = _known_second(text[:19])
        if seconds is not None:
            return seconds, 0
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise Refused(TIMESTAMP, text)
    moment, fraction, sign, offset_hours, offset_minutes = match.groups()
    try:
        seconds = _second_of(moment)
    except ValueError:
        raise Refused(TIMESTAMP, text) from None
    if sign:
        if int(offset_hours) > 23 or int(offset_minutes) > 59:
            raise Refused(TIMESTAMP, text)
        offset = int(offset_hours) * 3600 + int(offset_minutes) * 60
        seconds += -offset if sign == "+" else offset
        if not _FIRST_SECOND <= seconds <= _LAST_SECOND:
            raise Refused(TIMESTAMP, text)
    return seconds, int(fraction.ljust(9, "0")) if fraction else 0


@functools.lru_cache(maxsize=256)
def _known_second(moment: str) -> int | None:
    """The second of a time without fraction and offset; None for what is none."""
    if _RFC3339.fullmatch(f"{moment}Z") is None:
        return None
    try:
        return _second_of(moment)
    except ValueError:
        return None


@functools.lru_cache(maxsize=256)
def _second_of(moment: str) -> int:
    elapsed = datetime.fromisoformat(moment) - _NAIVE_EPOCH
    return elapsed.days * 86400 + elapsed.seconds


def parse_duration(text: str) -> tuple[int, int]:
    """(seconds, nanos), both with the sign of the duration."""
    # Short and not negative, as nearly all are.
    if len(text) < 20 and text[-1:] == "s" and text.isascii():
        amount = text[:-1]
        if amount.isdecimal() and len(amount) < 10:
            return int(amount), 0
        whole, _, fraction = amount.partition(".")
        if whole.isdecimal() and len(whole) < 10 and fraction.isdecimal() and len(fraction) < 10:
            return int(whole), int(fraction.ljust(9, "0"))
    match = _DURATION.fullmatch(text)
    if match is None or int(match[2]) > _MAX_DURATION:
        raise Refused(DURATION, text)
    seconds, nanos = int(match[2]), int(match[3].ljust(9, "0")) if match[3] else 0
    return (-seconds, -nanos) if match[1] else (seconds, nanos)


def in_seconds(text: str) -> str:
    """A duration in units, such as ``1h30m``, the way ProtoJSON writes it; any other text as it is."""
    if not _UNITS.fullmatch(text):
        return text
    nanos = sum(int(Decimal(amount) * _NANOS[unit]) for amount, unit in re.findall(r"(\d+(?:\.\d+)?)([a-z]+)", text))
    return duration_text(*divmod(nanos, 1_000_000_000))


def field_mask_text(paths: list[str]) -> str:
    """Paths in lowerCamelCase, separated by commas."""
    return ",".join(_LOWER.sub(lambda match: match[1].upper(), path) for path in paths)


def parse_field_mask(text: str) -> list[str]:
    """Paths as the proto file spells them; both spellings are taken."""
    if not text:
        return []
    paths = text.split(",")
    if not all(map(_MASK_PATH.fullmatch, paths)):
        raise Refused(FIELD_MASK, text)
    return [_UPPER.sub(lambda match: "_" + match[0].lower(), path) for path in paths]
