"""One request that is over, as those who watch requests see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Observation:
    """One request that is over."""

    http_method: str
    path: str
    """As it was sent, without the query, which may hold a token."""
    route: str
    """The path template that matched, such as ``/v1/books/{name}``; empty when none did."""
    rpc: str
    """``/package.Service/Method``; empty when the request was for none."""
    status: int
    """101 for a WebSocket that was accepted; 499 when the client left before an answer."""
    seconds: float
    """From the request's headers to the last byte that was handed to the server."""
    bytes_out: int
    """Of the body, or of all frames."""
    request_id: str
    client: str
    """Its address."""


Observer = Callable[[Observation], None]
"""Is told of every request when it is over, in the event loop: it must not block, and not raise."""
