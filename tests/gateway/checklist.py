"""What the gateway owes: the rows of its contract and the options of its proto, and which tests name them.

A table test says with `covers` which rows and options it is a table of. Names are the ids of transcoder_rows.yaml and
``Message.field`` of runner/gateway/v1/options.proto.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from runner.gateway.v1 import options_pb2

F = TypeVar("F", bound=Callable[..., Any])

ROWS: list[dict[str, str]] = yaml.safe_load(Path(__file__).with_name("transcoder_rows.yaml").read_text())["rows"]
COVERED: dict[str, list[str]] = {}
"""Tests by name."""


def covers(*names: str) -> Callable[[F], F]:
    """Says of a table test what its rows are about."""

    def claim(test: F) -> F:
        marks = [mark.name for mark in getattr(test, "pytestmark", [])]
        if "parametrize" not in marks:
            raise TypeError(f"{test.__name__} is no table: it covers nothing")
        for name in names:
            COVERED.setdefault(name, []).append(test.__name__)
        return test

    return claim


def options() -> list[str]:
    """Every option, and every value of its enums but the unspecified ones."""
    file = options_pb2.DESCRIPTOR
    fields = [f"{each.name}.{one.name}" for each in file.message_types_by_name.values() for one in each.fields]
    values = [one.name for each in file.enum_types_by_name.values() for one in each.values if one.number]
    return [*fields, *values]
