"""Checks a JSON value against PATH -> TYPE of the contract files.

PATH: ``a.b`` a member, ``a[]`` every element of an array, ``a.*`` every value of a map, ``$`` the root, ``$[]``
elements of a root array. TYPE: string, integer, number, boolean, object, array, any, null, datetime, uuid, id,
``enum(a,b)``, alternatives with ``|``.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

_ABSENT = object()
_DATETIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", re.ASCII)


def check_shape(value: Any, required: Mapping[str, str], optional: Mapping[str, str] | None = None) -> None:
    """Asserts that every required path is there with its type, and every optional one that is there has its type."""
    for path, kind in required.items():
        for found in _walk(value, path):
            assert found is not _ABSENT, f"{path} is not in {value}"
            assert _fits(found, kind), f"{path} is no {kind}: {found!r}"
    for path, kind in (optional or {}).items():
        for found in _walk(value, path):
            assert found is _ABSENT or _fits(found, kind), f"{path} is no {kind}: {found!r}"


def _walk(value: Any, path: str) -> Iterator[Any]:
    values = [value]
    for part in re.findall(r"[^.\[\]]+|\[\]", path):
        if part == "$":
            continue
        if part == "[]":
            values = [each for found in values if isinstance(found, list) for each in found]
        elif part == "*":
            values = [each for found in values if isinstance(found, dict) for each in found.values()]
        else:
            values = [found.get(part, _ABSENT) if isinstance(found, dict) else _ABSENT for found in values]
    yield from values


def _fits(value: Any, kind: str) -> bool:
    if kind.startswith("enum("):
        return value in kind[5:-1].split(",")
    if "|" in kind:
        return any(_fits(value, each) for each in kind.split("|"))
    return bool(_KINDS[kind](value))


def _is_datetime(value: Any) -> bool:
    return isinstance(value, str) and _DATETIME.fullmatch(value) is not None and bool(datetime.fromisoformat(value))


def _is_uuid(value: Any) -> bool:
    return isinstance(value, str) and str(uuid.UUID(value)) == value


_KINDS = {
    "string": lambda value: isinstance(value, str),
    "id": lambda value: isinstance(value, str) and value != "",
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "any": lambda value: True,
    "null": lambda value: value is None,
    "datetime": _is_datetime,
    "uuid": _is_uuid,
}
