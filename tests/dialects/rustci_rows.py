"""The rows of RustCI's contract, and which test drives which of them.

A row is one thing that the contract says: ``list_runners/query/limit``, ``bulk/errors/429``, ``decisions/R7``. A test
says with `drives` what it drives; patterns are for tests that go through all rows of a kind themselves.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from rustci_server import CONTRACT

F = TypeVar("F", bound=Callable[..., Any])

DRIVEN: dict[str, list[str]] = {}
"""Tests by pattern."""


def drives(*patterns: str) -> Callable[[F], F]:
    """Says of a test which rows it drives."""

    def claim(test: F) -> F:
        for pattern in patterns:
            DRIVEN.setdefault(pattern, []).append(test.__name__)
        return test

    return claim


def rows() -> Iterator[str]:
    """Every row of the contract but those that say where another comes from."""
    for endpoint in CONTRACT["endpoints"]:
        yield from _rows(endpoint["id"].removeprefix("rustci."), endpoint)
    for name in ("error_format", "rate_limits", "decisions"):
        yield from _rows(name, CONTRACT[name])
    yield from (f"collisions/{place}" for place in range(len(CONTRACT["collisions"])))
    yield from ("auth", "sdk_python", "sdk_javascript", "documented_error")


_SOURCES, _NAMES = frozenset({"source"}), frozenset({"id", "seed"})


def _rows(path: str, value: Any) -> Iterator[str]:
    for name, each in value.items():
        here = f"{path}/{name}"
        if name in _SOURCES or (here.count("/") == 1 and name in _NAMES) or name.endswith("_source"):
            continue
        if name == "errors":
            yield from (f"{here}/{error['status']}" for error in each)
        elif name in ("notes", "server_messages"):
            yield from (f"{here}/{place}" for place in range(len(each)))
        elif name in ("request", "success", "query", "sse", "buckets"):
            yield from _rows(here, each)
        else:
            yield here


def drivers_of(row: str) -> list[str]:
    return [test for pattern, tests in DRIVEN.items() if fnmatch.fnmatchcase(row, pattern) for test in tests]
