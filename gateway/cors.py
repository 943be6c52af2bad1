"""Cross-origin rules: what browsers on other origins may call and read."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.options import GatewayOptions
from gateway.request import Headers, HttpRequest


class Cors:
    """The CORS headers of a gateway; without origins it never says anything."""

    def __init__(self, settings: GatewayOptions) -> None:
        self._origins = frozenset(origin.rstrip("/") for origin in settings.cors_origins)
        self._any = "*" in self._origins
        self._headers = ", ".join(settings.cors_headers)
        self._expose = ", ".join(settings.cors_expose)
        self._max_age = str(settings.cors_max_age)
        self.enabled = bool(self._origins)

    def headers(self, request: HttpRequest) -> Headers:
        """What every reply to a cross-origin request carries; nothing for other origins."""
        origin = request.header("origin")
        if origin is None:
            # A cache must not serve this reply to a cross-origin caller.
            return [] if self._any else [("vary", "Origin")]
        allowed = self._allowed(origin)
        return [*allowed, ("access-control-expose-headers", self._expose)] if allowed else [("vary", "Origin")]

    def preflight(self, request: HttpRequest, methods: Sequence[str]) -> Headers | None:
        """The headers of the reply to a preflight; None when the request is none."""
        origin = request.header("origin")
        if origin is None or request.header("access-control-request-method") is None:
            return None
        allowed = self._allowed(origin)
        if not allowed:
            return [("vary", "Origin")]
        return [
            *allowed,
            ("access-control-allow-methods", ", ".join(methods)),
            ("access-control-allow-headers", self._headers),
            ("access-control-max-age", self._max_age),
        ]

    def _allowed(self, origin: str) -> Headers:
        if self._any:
            # Never with credentials: any site could then act with its visitors' cookies.
            return [("access-control-allow-origin", "*")]
        if origin in self._origins:
            return [
                ("access-control-allow-origin", origin),
                ("access-control-allow-credentials", "true"),
                ("vary", "Origin"),
            ]
        return []
