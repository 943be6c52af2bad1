"""Values of a job file: text made what it stands for, and mappings read key by key, each fault with its line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.duration_pb2 import Duration

from runner_client.cli.values import parse_duration, parse_size

Readers = dict[str, Callable[[Any], None]]


class JobFileError(Exception):
    """The file is not a job: a sentence, where possible its line (from 1), and what to do."""

    def __init__(self, message: str, *, line: int | None = None, advice: str = "") -> None:
        super().__init__(message)
        self.line = line
        self.advice = advice


class LinedMapping(dict[str, Any]):
    """A mapping that knows the line of each key."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}


def line_of(mapping: dict[str, Any], key: str) -> int | None:
    return mapping.lines.get(key) if isinstance(mapping, LinedMapping) else None


def read(mapping: Any, readers: Readers) -> None:
    """Hands each value to the reader of its key; a fault is told with the key and its line."""
    if not isinstance(mapping, dict):
        raise ValueError(f"write a mapping of {', '.join(readers)}, or some of them")
    for key, value in mapping.items():
        line = line_of(mapping, key)
        if key not in readers:
            raise JobFileError(f"the key {key!r} is not known", line=line, advice=f"known are {', '.join(readers)}")
        try:
            readers[key](value)
        except (ValueError, TypeError) as error:
            raise JobFileError(f"`{key}`: {error}", line=line) from None
        except JobFileError as error:
            raise JobFileError(f"`{key}`: {error}", line=error.line or line, advice=error.advice) from None


def word(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("write text, in quotes where it is JSON")
    return value


def full(text: str) -> str:
    if not text.strip():
        raise ValueError("a step is empty")
    return text


def words(value: Any) -> dict[str, str]:
    if value == "":
        return {}
    if not isinstance(value, dict):
        raise ValueError("write a mapping of names to text")
    for name, text in value.items():
        if not isinstance(text, str):
            raise JobFileError(f"{name!r} must be text", line=line_of(value, name))
    return value


def items(value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError("write a list with at least one item")
    return value


def flag(value: Any) -> bool:
    text = "true" if value is True else "false" if value is False else word(value).lower()
    if text not in ("true", "false", "yes", "no"):
        raise ValueError("write true or false")
    return text in ("true", "yes")


def choice(value: Any, known: Mapping[str, int]) -> Any:
    """The number of one of the words."""
    if value not in known:
        raise ValueError(f"write {', '.join(known)}")
    return known[value]


def number(value: Any, *, least: int, most: int = 2**31 - 2) -> int:
    try:
        found = int(word(value))
    except ValueError:
        raise ValueError("write a whole number") from None
    if not least <= found <= most:
        raise ValueError(f"write a number from {least} to {most}")
    return found


def decimal(value: Any) -> float:
    try:
        return float(word(value))
    except ValueError:
        raise ValueError("write a number such as 1.5") from None


def size(value: Any) -> int:
    return parse_size(word(value))


def duration(value: Any) -> Duration:
    found = Duration()
    found.FromNanoseconds(round(parse_duration(word(value)) * 1e9))
    return found
