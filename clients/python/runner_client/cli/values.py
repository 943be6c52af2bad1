"""Words of the command line made values, and back: durations, sizes and KEY=VALUE pairs."""

from __future__ import annotations

import re
from typing import Any

import click

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"([0-9]+)([KMGT]?)(?:i?B)?")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")


def parse_duration(text: str) -> float:
    """Returns seconds for `30`, `1.5`, `30s`, `500ms`, `1h30m`; raises ``ValueError``."""
    text = text.strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return float(text)
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration: write it as 30s, 500ms or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def format_duration(seconds: float) -> str:
    """Returns `0.8s`, `42s`, `3m05s`, `2h07m` or `3d4h`."""
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3_600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86_400:
        return f"{whole // 3_600}h{whole % 3_600 // 60:02}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3_600}h"


def parse_size(text: str) -> int:
    """Returns bytes for `1000`, `512M`, `2GiB`; raises ``ValueError``. A K is 1,024."""
    found = _SIZE.fullmatch(text.strip())
    if found is None or not int(found[1]):
        raise ValueError(f"{text!r} is not a size: write it as 512M or 2G")
    return int(found[1]) * _SIZES[found[2]]


def format_size(size: int) -> str:
    """Returns `512`, `1.5K`, `64M` or `2G`."""
    value, unit = float(size), ""
    for unit in _SIZES:
        if value < 1024 or unit == "T":
            break
        value /= 1024
    return f"{value:.1f}".removesuffix(".0") + unit


class Size(click.ParamType[int]):
    """An option's size, as bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return parse_size(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Duration(click.ParamType[float]):
    """An option's duration, as seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def pairs(_: click.Context, __: click.Parameter, words: tuple[str, ...]) -> dict[str, str]:
    """Callback of a repeatable option KEY=VALUE; the last of a key wins."""
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"{word!r} is not of the form KEY=VALUE")
        found[key] = value
    return found


def secret_pairs(_: click.Context, __: click.Parameter, words: tuple[str, ...]) -> dict[str, str]:
    """Callback of a repeatable option VAR[=NAME]; without a name the secret is called as the variable."""
    found = {}
    for word in words:
        variable, _equals, name = word.partition("=")
        if not variable:
            raise click.BadParameter(f"{word!r} is not of the form VAR or VAR=NAME")
        found[variable] = name or variable
    return found
