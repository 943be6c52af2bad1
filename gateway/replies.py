"""Reply messages → HTTP replies: status, headers and body of everything that is no stream."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from gateway.call import Entries
from gateway.downloads import deliver
from gateway.endpoints import Endpoint
from gateway.http_reply import HttpReply
from gateway.metadata import ReplyShape, has_controls, reply_shape
from gateway.reply_body import BODILESS
from gateway.request import HttpRequest


def unary_reply(
    endpoint: Endpoint, message: Any, initial: Entries, trailing: Entries, listed: Set[str] = frozenset()
) -> HttpReply:
    """The reply that a unary RPC's message and response metadata make; ``listed`` as `reply_shape` has it."""
    shape = reply_shape(initial, trailing, listed=listed)
    status, is_empty = _status(endpoint, message, shape)
    if is_empty:
        return HttpReply(status, b"", shape.headers)
    if status in BODILESS:
        return HttpReply(status, b"", shape.headers)
    assert endpoint.body is not None
    body, media_type = endpoint.body(message)
    return HttpReply(status, body, [("content-type", shape.content_type or media_type), *shape.headers])


def part_of(request: HttpRequest, reply: HttpReply, *, whole: bool) -> HttpReply:
    """The reply, or the part of it that the client wants. ``whole``: its body is a download, with ranges."""
    delivery = deliver(request, reply.status, reply.headers, len(reply.body) if whole else None)
    return HttpReply(delivery.status, reply.body[delivery.start : delivery.end], delivery.headers)


def _status(endpoint: Endpoint, message: Any, shape: ReplyShape) -> tuple[int, bool]:
    """The status, and whether it is the one of an empty reply. Adds a location to the shape."""
    rules, status = endpoint.rules, shape.status
    if rules.status_field:
        status = status or int(getattr(message, rules.status_field))
    if rules.location_field:
        location = str(getattr(message, rules.location_field))
        if location and not has_controls(location):
            shape.headers.append(("location", location))
            status = status or rules.success_status or 302
    if rules.empty_status and not message.ByteSize():
        return status or rules.empty_status, True
    return status or rules.success_status or 200, False
