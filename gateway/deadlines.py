"""Deadlines that clients set: ``Grpc-Timeout`` (``100m``, ``5S``) and ``X-Request-Timeout`` (seconds)."""

from __future__ import annotations

import re

from gateway.errors import Reason, deadline_exceeded, refusal
from gateway.request import HttpRequest

_HEADERS = frozenset({b"grpc-timeout", b"x-request-timeout"})
_GRPC = re.compile(r"(\d{1,8})([HMSmun])", re.ASCII)
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_LONGEST = 366 * 86_400.0
"""Seconds. gRPC can't count to eleven thousand years, which is what its header has room for."""
_SECONDS = re.compile(r"\d{1,8}(?:\.\d{1,9})?", re.ASCII)


def timeout_of(request: HttpRequest, *, cap: float | None) -> float | None:
    """Seconds that a request may take; None without a limit.

    ``Failure``: 400 for a header that is none, 504 for a deadline that has passed before anything began.
    """
    if _HEADERS.isdisjoint(request.first):
        return None
    asked = _asked(request)
    if asked is None:
        return None
    if asked == 0:
        raise deadline_exceeded()
    return min(asked, _LONGEST if cap is None else cap)


def _asked(request: HttpRequest) -> float | None:
    grpc_timeout = request.header("grpc-timeout")
    if grpc_timeout is not None:
        match = _GRPC.fullmatch(grpc_timeout)
        if match is None:
            raise _refused("Grpc-Timeout", "digits and a unit, like 100m or 5S")
        return int(match[1]) * _UNITS[match[2]]
    seconds = request.header("x-request-timeout")
    if seconds is None:
        return None
    if not _SECONDS.fullmatch(seconds):
        raise _refused("X-Request-Timeout", "seconds, like 2.5")
    return float(seconds)


def _refused(header: str, expected: str) -> Exception:
    return refusal(Reason.DEADLINE_INVALID, f"{header} must be {expected}", field_path=header)
