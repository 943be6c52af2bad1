"""What a codec refuses: a value at a path that is not what its field wants.

``Refused`` is raised deep inside a message and gathers its path on the way out, so that the happy path
carries no path at all. Its text never comes from a JSON parser: it names the place, what was expected and
what was found.
"""

from __future__ import annotations

import math
from typing import Any

import orjson

_SHOWN = 64  # characters of a refused value that an error repeats


class Refused(ValueError):
    """A value that does not fit its field; ``str()`` is what a client reads."""

    def __init__(self, expected: str, value: Any = None, *, unknown: bool = False, bare: bool = False) -> None:
        super().__init__(expected)
        self.expected = expected
        self.value = value
        self.unknown = unknown  # the name itself is not known, rather than its value wrong
        self.bare = bare  # `expected` is the whole sentence
        self._steps: list[str] = []

    def under(self, step: str) -> Refused:
        """Adds a step to the front of the path: a member name, ``[3]`` or ``["key"]``."""
        self._steps.append(step)
        return self

    @property
    def path(self) -> str:
        """The field path from the root: ``steps[2].env["HOME"]``; empty for the root itself."""
        path = ""
        for step in reversed(self._steps):
            path += step if step.startswith("[") or not path else f".{step}"
        return path

    @property
    def problem(self) -> str:
        """The sentence without the path."""
        if self.bare or self.unknown:
            return self.expected
        return f"expected {self.expected}, got {shown(self.value)}"

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}" if self.path else self.problem


class NotJson(Refused):
    """A body that is no JSON text at all."""

    def __init__(self) -> None:
        super().__init__("the body is not valid JSON", bare=True)


def shown(value: Any) -> str:
    """A refused value as JSON, short enough for an error message."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, float) and not math.isfinite(value):
        return "a number that is out of range"  # how 1e400 is read; JSON has no infinities
    if isinstance(value, str) and len(value) > _SHOWN:
        value = value[:_SHOWN] + "…"
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        # Integers over 64 bits, text with lone surrogates: nothing orjson can print.
        text = ascii(value)
        return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
