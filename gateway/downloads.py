"""Downloads: conditional and partial replies (RFC 9110), for whatever has an ETag or a known length.

A servicer says the length of a stream by the response metadata ``x-http-content-length``, and an ETag by
``x-http-header-etag``. One that cuts ranges by itself answers with status 206, and is left alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.request import Headers, HttpRequest

_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What of a body is sent, and how it is announced."""

    status: int
    headers: Headers
    start: int = 0
    end: int | None = None
    """The first byte that is not sent; None: all to the end."""


def deliver(request: HttpRequest, status: int, headers: Headers, length: int | None) -> Delivery:
    """How to answer a GET or HEAD whose whole reply would be this. ``length`` is None where nobody knows it."""
    if status != 200 or request.method not in ("GET", "HEAD"):
        return Delivery(status, headers)
    etag = next((value for name, value in headers if name == "etag"), None)
    if etag is not None and _is_known(request, etag):
        return Delivery(304, [each for each in headers if each[0] != "content-type"], end=0)
    if length is None:
        return Delivery(status, headers)
    headers = [*headers, ("accept-ranges", "bytes")]
    asked = request.header("range")
    if asked is None or not _still_holds(request, etag):
        return Delivery(status, headers)
    found = _range(asked, length)
    if found is None:
        return Delivery(status, headers)
    start, end = found
    if start >= end:
        others = [each for each in headers if each[0] != "content-type"]
        return Delivery(416, [*others, ("content-range", f"bytes */{length}")], end=0)
    return Delivery(206, [*headers, ("content-range", f"bytes {start}-{end - 1}/{length}")], start, end)


class Slicer:
    """The part of a stream of bytes that is sent, as it passes by."""

    def __init__(self, start: int, end: int | None) -> None:
        self._start, self._end = start, end
        self._position = 0

    def cut(self, data: bytes) -> bytes:
        """What of the next bytes is to be sent."""
        first = max(0, self._start - self._position)
        last = len(data) if self._end is None else max(0, self._end - self._position)
        self._position += len(data)
        return data if first == 0 and last >= len(data) else data[first:last]

    @property
    def complete(self) -> bool:
        """Nothing that follows is wanted."""
        return self._end is not None and self._position >= self._end


def _is_known(request: HttpRequest, etag: str) -> bool:
    """Whether the client has this very version, by weak comparison."""
    given = [item.strip() for value in request.header_list("if-none-match") for item in value.split(",")]
    return "*" in given or etag.removeprefix("W/") in {item.removeprefix("W/") for item in given}


def _still_holds(request: HttpRequest, etag: str | None) -> bool:
    """Whether a range is of the version that the client has a part of, by strong comparison."""
    condition = request.header("if-range")
    return condition is None or (condition == etag and not condition.startswith("W/"))


def _range(asked: str, length: int) -> tuple[int, int] | None:
    """(first byte, byte after the last); None for what is to be ignored: other units, several ranges, nonsense."""
    match = _RANGE.fullmatch(asked)
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        return max(0, length - int(match[2])), length
    start = int(match[1])
    if not match[2]:
        return start, length
    last = int(match[2])
    return None if last < start else (start, min(last + 1, length))
