"""A line in the server's own log for every HTTP request and WebSocket, where the settings ask for it."""

from __future__ import annotations

import logging
import time
from typing import Any

log = logging.getLogger(__name__)


class RequestLog:
    """An ASGI application around another. Paths are logged without their query, which may hold a token."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 0

        async def noting(message: dict[str, Any]) -> None:
            nonlocal status
            if message["type"].endswith("response.start"):
                status = message["status"]
            elif message["type"] == "websocket.accept":
                status = 101
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            milliseconds = round((time.monotonic() - began) * 1000, 1)
            method, path, client = scope.get("method", "GET"), scope["path"], (scope.get("client") or ("-",))[0]
            log.info(
                "%s %s %s from %s in %s ms",
                method,
                path.encode("unicode_escape").decode(),
                status or "-",
                client,
                milliseconds,
                extra={"action": "request", "method": method, "status": status, "milliseconds": milliseconds},
            )
