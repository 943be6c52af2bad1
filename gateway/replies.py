"""Reply messages → HTTP replies: status, headers and body of everything that is no stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gateway.endpoints import Endpoint
from gateway.metadata import has_controls, reply_shape

_BODILESS = frozenset({204, 205, 304})


@dataclass(slots=True)
class HttpReply:
    """A complete reply; header names in lower case."""

    status: int
    body: bytes
    headers: list[tuple[str, str]] = field(default_factory=list)


def unary_reply(endpoint: Endpoint, message: Any, *metadata: Any) -> HttpReply:
    """The reply that a unary RPC's message and response metadata make."""
    shape = reply_shape(*metadata)
    rules = endpoint.rules
    status = shape.status
    headers = shape.headers
    if rules.status_field:
        status = status or int(getattr(message, rules.status_field))
    if rules.location_field:
        location = str(getattr(message, rules.location_field))
        if location and not has_controls(location):
            headers.append(("location", location))
            status = status or rules.success_status or 302
    if rules.empty_status and not message.ByteSize():
        return HttpReply(status or rules.empty_status, b"", headers)
    status = status or rules.success_status or 200
    if status in _BODILESS:
        return HttpReply(status, b"", headers)
    assert endpoint.body is not None
    body, media_type = endpoint.body(message)
    headers.insert(0, ("content-type", shape.content_type or media_type))
    return HttpReply(status, body, headers)
