"""Free-form JSON that must come through as it was: the text of chosen members, cut out of the body.

A parsed number has lost its digits (``1.10`` is ``1.1``, ``1e400`` is nothing), so for messages with ``raw_json``
fields the text is walked a second time, by the shape of the message, and the members that are raw are
replaced by their text. The text was validated before; the standard library's C scanner skips over values.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.codec.text import integer, skip_space

# raw_decode parses one value at a position and says where it ends.
_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder(parse_int=integer).raw_decode
_skip: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder(parse_int=len, parse_float=len).raw_decode


@dataclass(slots=True)
class RawText:
    """The text of one JSON value."""

    text: str


@dataclass(slots=True)
class RawShape:
    """Where a message, or what it holds, has raw members."""

    members: dict[str, RawShape] = field(default_factory=dict)
    """By either spelling of the member's name; only members on the way to raw ones."""
    raw: bool = False
    """The value itself is raw."""
    many: bool = False
    """The value is a list, or an object, of such values."""


def with_raw_text(body: bytes, shape: RawShape) -> Any:
    """The parsed value of a valid JSON text, with ``RawText`` where ``shape`` says raw."""
    text = body.decode()
    value, _ = _value(text, skip_space(text, 0), shape)
    return value


def _value(text: str, start: int, shape: RawShape) -> tuple[Any, int]:
    opening = text[start]
    if shape.many:
        single = RawShape(members=shape.members, raw=shape.raw)
        if opening == "[":
            return _list(text, start, single)
        if opening == "{":
            return _object(text, start, lambda _: single)
    elif shape.raw:
        _, end = _skip(text, start)
        return RawText(text[start:end]), end
    elif opening == "{":
        return _object(text, start, shape.members.get)
    # Not of the shape that the field wants: parsed as it is, and refused by the decoder.
    return _scan(text, start)


def _object(text: str, start: int, shape_of: Callable[[str], RawShape | None]) -> tuple[dict[str, Any], int]:
    result: dict[str, Any] = {}
    position = skip_space(text, start + 1)
    while text[position] != "}":
        if text[position] == ",":
            position = skip_space(text, position + 1)
        name, position = _scan(text, position)
        colon = skip_space(text, position)
        position = skip_space(text, colon + 1)
        shape = shape_of(name)
        result[name], position = _value(text, position, shape) if shape else _scan(text, position)
        position = skip_space(text, position)
    return result, position + 1


def _list(text: str, start: int, shape: RawShape) -> tuple[list[Any], int]:
    result = []
    position = skip_space(text, start + 1)
    while text[position] != "]":
        if text[position] == ",":
            position = skip_space(text, position + 1)
        value, position = _value(text, position, shape)
        result.append(value)
        position = skip_space(text, position)
    return result, position + 1
