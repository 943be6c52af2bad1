"""Requests that are for no RPC: documents, OPTIONS, and what is refused with 404, 405 and 426."""

from __future__ import annotations

from google.rpc import code_pb2

from gateway.endpoints import Endpoint
from gateway.errors import Failure, Reason, refusal
from gateway.http_reply import HttpReply
from gateway.request import HttpRequest
from gateway.responder import Responder
from gateway.service import Service
from gateway.site import Site


def unrouted(site: Site, request: HttpRequest, responder: Responder) -> HttpReply:
    """The reply to a request whose method and path no RPC has; raises ``Failure`` for what is refused."""
    path = request.raw_path
    document = site.documents.get(path)
    if document is not None and request.method in ("GET", "HEAD"):
        return document()
    socket = _websocket(site, path) if request.method == "GET" else None
    if socket is not None:
        # Its envelope is the RPC's.
        responder.endpoint = socket
        raise upgrade_required()
    if request.method == "OPTIONS" and path == "*":
        return HttpReply(204, b"", [])  # the server as a whole is asked whether it is there
    methods = site.catalog.routes.methods(path)
    if document is not None:
        methods = sorted({*methods, "GET", "HEAD"})
    if not methods:
        if _websocket(site, path) is None:
            raise not_found()
        methods = ["GET"]
    allow = [("allow", ", ".join(sorted({*methods, "OPTIONS"})))]
    responder.neighbour = _neighbour(site, path, methods)
    if request.method == "OPTIONS":
        service = responder.owner
        status = service.rules.options_status if service is not None else 0
        preflight = site.cors.preflight(request, methods, service) if site.cors.speaks(service) else None
        return HttpReply(status or 204, b"", allow if preflight is None else preflight)
    raise refusal(
        Reason.METHOD_NOT_ALLOWED,
        f"{request.method[:16]} is not allowed here",
        code=code_pb2.UNIMPLEMENTED,
        http_status=405,
        headers=allow,
    )


def not_found() -> Failure:
    """404 for a path that leads nowhere."""
    return refusal(Reason.ROUTE_NOT_FOUND, "there is nothing at this path", code=code_pb2.NOT_FOUND)


def upgrade_required() -> Failure:
    """426 for a plain request to a route that is a WebSocket only."""
    return refusal(
        Reason.UPGRADE_REQUIRED,
        "this is served over WebSocket",
        code=code_pb2.FAILED_PRECONDITION,
        http_status=426,
        headers=[("upgrade", "websocket"), ("connection", "upgrade")],
    )


def _websocket(site: Site, path: str) -> Endpoint | None:
    match = site.catalog.websocket_routes.find("GET", path)
    return None if match is None else match.entries[-1].target


def _neighbour(site: Site, path: str, methods: list[str]) -> Service | None:
    """The service that serves the path with another method."""
    for method in methods:
        match = site.catalog.routes.find(method, path)
        if match is not None:
            return match.entries[-1].target.service
    return None
