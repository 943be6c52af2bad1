"""Secrets: values that jobs get by name, and that nothing keeps or shows in the clear."""

from __future__ import annotations

import re
from dataclasses import dataclass

from runner_service.domain.errors import InvalidArgument
from runner_service.domain.jobs import Micros

MIN_BYTES = 6
"""What is shorter stands in ordinary output by chance: hiding it would spoil the log and give the value away."""
MAX_BYTES = 64 * 1024
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """What may be known of a secret."""

    name: str
    created_at: Micros
    updated_at: Micros
    created_by: str = ""
    """Who set the present value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedSecret:
    """A value as it is stored: of no use without the service's key."""

    name: str
    sealed: bytes


def check_name(name: str, *, field: str = "name") -> str:
    """Raises `InvalidArgument`."""
    if _NAME.fullmatch(name) is None:
        raise InvalidArgument(field=field, problem="letters, digits and _ . - only, a letter or _ first, 128 at most")
    return name


def check_value(value: bytes) -> bytes:
    """Raises `InvalidArgument`."""
    if len(value) < MIN_BYTES:
        raise InvalidArgument(
            field="value",
            problem=f"a secret shorter than {MIN_BYTES} bytes cannot be kept out of logs: take a longer one",
        )
    if len(value) > MAX_BYTES:
        raise InvalidArgument(field="value", problem=f"at most {MAX_BYTES} bytes are taken")
    if b"\0" in value:
        raise InvalidArgument(field="value", problem="a variable holds no NUL byte")
    return value
