"""JSON that must come back as it came: the text of members, cut out and put together without touching a number.

A parsed number has lost its digits (``1.10`` is ``1.1``), so what is free-form stays text from end to end. What is
parsed here has been validated before (the gateway caps its size and depth).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_decoder = json.JSONDecoder()
_skip = json.JSONDecoder(parse_int=len, parse_float=len).raw_decode
_space = re.compile(r"[ \t\n\r]*").match
_encode = json.JSONEncoder(separators=(",", ":")).encode


def members_of(text: str) -> dict[str, str]:
    """The members of a JSON object with the text of each; of a repeated name the last.

    Raises:
        ValueError: It is no JSON object.
    """
    position = _behind_space(text, 0)
    if text[position : position + 1] != "{":
        raise ValueError("it is no JSON object")
    found: dict[str, str] = {}
    position = _behind_space(text, position + 1)
    while text[position] != "}":
        if text[position] == ",":
            position = _behind_space(text, position + 1)
        name, position = _decoder.raw_decode(text, position)
        start = _behind_space(text, _behind_space(text, position) + 1)
        _, position = _skip(text, start)
        found[name] = text[start:position]
        position = _behind_space(text, position)
    return found


def object_of(members: Mapping[str, str]) -> str:
    """A JSON object of members that are JSON text already."""
    return "{" + ",".join(f"{_encode(name)}:{value}" for name, value in members.items()) + "}"


def parse(text: str) -> Any:
    """The value of a JSON text, for looking at; numbers may lose digits."""
    return _decoder.decode(text)


def text_of(value: object) -> str:
    """A value as compact JSON text."""
    return _encode(value)


def mend_continued_lines(text: str) -> str:
    """The text with each backslash that ends a line outside of strings taken as a blank, as a shell would have done.

    For documented examples that were written for a shell and never ran through one.
    """
    return _STRING_OR_CONTINUATION.sub(lambda match: match[0] if match[0][0] == '"' else "  ", text)


_STRING_OR_CONTINUATION = re.compile(r'"(?:[^"\\]|\\.)*"|\\\r?\n', re.DOTALL)


def _behind_space(text: str, position: int) -> int:
    match = _space(text, position)
    assert match is not None
    return match.end()
