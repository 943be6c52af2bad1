"""An HTTP request → the request message of its call, whatever the shape of its body.

What is wrong with the request is noted in the call, see ``Call.refusal``: it still goes through the interceptors.
"""

from __future__ import annotations

import functools
from typing import Any

from gateway.body import has_body, read_body
from gateway.call import Call
from gateway.departure import Receive
from gateway.endpoints import Endpoint
from gateway.errors import Failure
from gateway.pieces import is_form
from gateway.request import HttpRequest
from gateway.routes import Entry, Match
from gateway.uploads import Upload, check_upload, pieces_of, read_form


async def take(
    request: HttpRequest, receive: Receive, entry: Entry[Endpoint], match: Match[Endpoint], call: Call
) -> tuple[Any, Receive]:
    """The request message (an iterator of them for client streams), and the receive that tells when the client leaves.

    For what is no single body that is read at once. Raises ``ClientLeft``.
    """
    endpoint = entry.target
    try:
        if endpoint.client_streaming:
            check_upload(endpoint, request)
            head = _head(request, entry, match)
            end = functools.partial(endpoint.binder.bind_end, head) if endpoint.binder.end else None
            upload = Upload(pieces_of(endpoint, head, request), receive, end)
            return upload, upload.receive_after
        if endpoint.takes_forms and not (endpoint.rules.multipart.or_raw and not is_form(request)):
            check_upload(endpoint, request)
            return await read_form(endpoint, _head(request, entry, match), request, receive), receive
        return await read(request, receive, entry, match, call), receive
    except Failure as failure:
        call.refusal = call.refusal or failure
        return _nothing(endpoint), receive


async def read(
    request: HttpRequest, receive: Receive, entry: Entry[Endpoint], match: Match[Endpoint], call: Call
) -> Any:
    """The request message of a unary RPC, or server stream. Raises ``ClientLeft``."""
    body: bytes | Failure = b""
    if has_body(request):
        try:
            body = await read_body(request, receive, entry.target.max_body_bytes)
        except Failure as failure:
            body = failure
    return bound(request, entry, match, call, body)


def bound(
    request: HttpRequest, entry: Entry[Endpoint], match: Match[Endpoint], call: Call, body: bytes | Failure
) -> Any:
    """The request message of a unary RPC, or server stream, with a body that was read, or could not be."""
    binder = entry.target.binder
    try:
        if isinstance(body, Failure):
            raise body
        return binder.bind(request, match.variables(entry) if entry.template.variables else {}, body)
    except Failure as failure:
        call.refusal = call.refusal or failure
        return binder.new()


def subject(message: Any, paths: tuple[tuple[str, ...], ...]) -> dict[tuple[str, ...], str]:
    """What a request is about, where its path does not say: the fields that are path variables on another route."""
    found = {}
    for path in paths:
        owner = message
        for name in path[:-1]:
            owner = getattr(owner, name)
        found[path] = str(getattr(owner, path[-1]))
    return found


def _head(request: HttpRequest, entry: Entry[Endpoint], match: Match[Endpoint]) -> Any:
    return entry.target.binder.bind_head(request, match.variables(entry))


def _nothing(endpoint: Endpoint) -> Any:
    return _no_messages() if endpoint.client_streaming else endpoint.binder.new()


async def _no_messages() -> Any:
    return
    yield
