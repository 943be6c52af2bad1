"""A complete HTTP reply."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class HttpReply:
    """Status, body and headers, whose names are in lower case."""

    status: int
    body: bytes
    headers: list[tuple[str, str]] = field(default_factory=list)
