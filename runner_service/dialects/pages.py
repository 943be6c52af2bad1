"""The web pages that come with the service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.api import annotations_pb2, httpbody_pb2

from runner.dialects.common.v1 import page_service_pb2 as pb
from runner.dialects.common.v1 import page_service_pb2_grpc
from runner_service.domain.errors import PageNotFound

AGENTS_PAGE = "agents.html"
ICON = "icon.svg"
_HEADERS = (
    ("x-http-header-cache-control", "no-cache"),
    (
        "x-http-header-content-security-policy",
        "default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
)


def _path(method: str) -> str:
    """Where a page is served, as its proto says."""
    descriptor = pb.DESCRIPTOR.services_by_name["PageService"].methods_by_name[method]
    path: str = descriptor.GetOptions().Extensions[annotations_pb2.http].get
    return path


class PageServicer(page_service_pb2_grpc.PageServiceServicer):
    """Gives out files. ``pages``: media type and content by name. ``at_root``: the page of agents is at the root too,
    which leads to it otherwise."""

    def __init__(self, pages: Mapping[str, tuple[str, bytes]], *, at_root: bool = False) -> None:
        self._pages = pages
        self._at_root = at_root

    async def GetRoot(self, request: pb.GetRootRequest, context: Any) -> httpbody_pb2.HttpBody:
        if self._at_root:
            return self._give(AGENTS_PAGE, context)
        context.set_trailing_metadata((("x-http-status", "302"), ("x-http-header-location", _path("GetAgentsPage"))))
        return httpbody_pb2.HttpBody()

    async def GetAgentsPage(self, request: pb.GetAgentsPageRequest, context: Any) -> httpbody_pb2.HttpBody:
        return self._give(AGENTS_PAGE, context)

    async def GetPageFile(self, request: pb.GetPageFileRequest, context: Any) -> httpbody_pb2.HttpBody:
        return self._give(ICON if request.name.endswith(".ico") else request.name, context)

    def _give(self, name: str, context: Any) -> httpbody_pb2.HttpBody:
        found = self._pages.get(name)
        if found is None:
            raise PageNotFound(name=name)
        context.set_trailing_metadata(_HEADERS)
        return httpbody_pb2.HttpBody(content_type=found[0], data=found[1])
