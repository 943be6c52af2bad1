"""JSON text → Python values, with what orjson leaves out: duplicate names, a depth limit, text after the value.

Duplicates are found without a second parse, by counting colons: those of the text against those of the parsed value
when it is printed again. Every name that was dropped took a colon with it, and colons inside of strings count alike on
both sides, unless the text has ``\\u`` escapes, which may stand for colons. Then, or when the counts differ, the names
are counted exactly, by one regular expression; only when that count differs too is the text walked by the standard
library to name the culprit. No value is deeper than its text has brackets.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from gateway.codec.errors import NotJson, Refused

MAX_DEPTH = 100
_DEEP = 500  # no type of messages is deeper

# One match per JSON string; the group is there when the string is a member's name.
_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?', re.DOTALL)
_SPACE = re.compile(r"[ \t\n\r]*")
_FIRST_VALUE = json.JSONDecoder()


class _Duplicate(Exception):
    """Carries the name that an object has twice."""


def parse(body: bytes, *, ignore_trailing_text: bool = False, max_depth: int = MAX_DEPTH) -> Any:
    """The value of a JSON text.

    Raises ``Refused`` (never a parser's error) for text that is not JSON, not UTF-8, nested deeper than
    ``max_depth``, or with a name twice in one object.
    """
    value, _ = parse_exactly(body, ignore_trailing_text=ignore_trailing_text, max_depth=max_depth)
    return value


def parse_exactly(
    body: bytes, *, ignore_trailing_text: bool = False, max_depth: int | None = MAX_DEPTH
) -> tuple[Any, bytes]:
    """As ``parse``, with the text of the value itself, free of what followed it; None: the depth does not matter."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        if ignore_trailing_text:
            body = _first_value(body)
        value = _loads_leniently(body)
    if type(value) is dict or type(value) is list:
        if max_depth is not None and len(body) >= 2 * max_depth and body.count(b"{") + body.count(b"[") > max_depth:
            _members(value, max_depth)
        if not _surely(body, value) and _names(body) != _members(value, max_depth or _DEEP):
            raise Refused(f'the name "{_duplicate(body)}" is given twice', bare=True)
    return value, body


def _loads_leniently(body: bytes) -> Any:
    """For what orjson refuses: numbers over the range of a double are JSON all the same, and raw fields keep them."""
    try:
        value = json.loads(body.decode(), parse_constant=_no_constant, parse_int=integer)
        # Fails for half a surrogate pair, which is no text.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise NotJson from None
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def integer(text: str) -> int | float:
    """An integer of any length; Python refuses to read thousands of digits, and no field wants them."""
    return int(text) if len(text) < 400 else float(text)


def _members(value: dict[str, Any] | list[Any], depth: int) -> int:
    """How many members all objects of the tree have; refuses trees that are too deep."""
    if depth == 0:
        raise Refused("the body is nested too deeply", bare=True)
    if type(value) is dict:
        count = len(value)
        items: Any = value.values()
    else:
        count = 0
        items = value
    for item in items:
        if type(item) is dict or type(item) is list:
            count += _members(item, depth - 1)
    return count


def _surely(body: bytes, value: Any) -> bool:
    """Whether printing the value again proves that no name is there twice."""
    try:
        printed = orjson.dumps(value)
    except TypeError:  # deeper, or with larger integers, than orjson prints
        return False
    if printed == body:  # as JavaScript and our own clients write it
        return True
    # To look for one byte is much faster than for two.
    if b"\\" in body and b"\\u" in body:
        return False
    return printed.count(b":") == body.count(b":")


def _names(body: bytes) -> int:
    return sum(map(bool, _STRINGS.findall(body)))


def _duplicate(body: bytes) -> str:
    def check(pairs: list[tuple[str, Any]]) -> None:
        seen = set()
        for name, _ in pairs:
            if name in seen:
                raise _Duplicate(name)
            seen.add(name)

    try:
        json.loads(body, object_pairs_hook=check)
    except _Duplicate as duplicate:
        return str(duplicate)[:64]
    raise AssertionError("a name was counted twice and not found twice")


def _first_value(body: bytes) -> bytes:
    """The text of the first JSON value, for services that ignore what follows it."""
    # surrogateescape: bytes after the value need not be text at all.
    text = body.decode("utf-8", "surrogateescape")
    start = skip_space(text, 0)
    try:
        _, end = _FIRST_VALUE.raw_decode(text, start)
    except (ValueError, RecursionError):
        raise NotJson from None
    return text[start:end].encode("utf-8", "surrogateescape")


def skip_space(text: str, position: int) -> int:
    """The position of the next character that is not JSON white space."""
    match = _SPACE.match(text, position)
    assert match is not None
    return match.end()
