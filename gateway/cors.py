"""Cross-origin rules: what browsers on other origins may call and read."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.options import GatewayOptions
from gateway.request import Headers, HttpRequest
from gateway.service import Service
from runner.gateway.v1 import options_pb2 as options

_NO_RULES = options.CorsRules()


class Cors:
    """The CORS headers of a gateway; without origins it never says anything.

    Which origins may call is the gateway's to say, and a service's only where the gateway names none; what they may
    send and read, a service's too (``CorsRules``).
    """

    def __init__(self, settings: GatewayOptions) -> None:
        self._silent = not settings.cors
        self._origins = frozenset(origin.rstrip("/") for origin in settings.cors_origins if settings.cors)
        self._any = "*" in self._origins
        self._headers = ", ".join(settings.cors_headers)
        self._expose = ", ".join(settings.cors_expose)
        self._max_age = settings.cors_max_age
        self._named = bool(self._origins)

    def speaks(self, service: Service | None) -> bool:
        """Whether replies of a service (None: of nobody) say anything of other origins."""
        return self._named or self._is_any(service)

    def headers(self, request: HttpRequest, service: Service | None) -> Headers:
        """What every reply to a cross-origin request carries; nothing for other origins."""
        origin = request.header("origin")
        if origin is None:
            # A cache must not serve this reply to a cross-origin caller.
            return [] if self._is_any(service) else [("vary", "Origin")]
        allowed = self._allowed(origin, service)
        if not allowed:
            return [("vary", "Origin")]
        expose = ", ".join(service.rules.cors.expose_headers if service else ()) or self._expose
        return [*allowed, ("access-control-expose-headers", expose)]

    def preflight(self, request: HttpRequest, methods: Sequence[str], service: Service | None) -> Headers | None:
        """The headers of the reply to a preflight; None when the request is none."""
        origin = request.header("origin")
        if origin is None or request.header("access-control-request-method") is None:
            return None
        allowed = self._allowed(origin, service)
        if not allowed:
            return [("vary", "Origin")]
        rules = service.rules.cors if service else _NO_RULES
        return [
            *allowed,
            ("access-control-allow-methods", ", ".join(rules.allow_methods or methods)),
            ("access-control-allow-headers", ", ".join(rules.allow_headers) or self._headers),
            ("access-control-max-age", str(rules.max_age or self._max_age)),
        ]

    def _is_any(self, service: Service | None) -> bool:
        if self._silent:
            return False
        return self._any or (not self._named and service is not None and service.any_origin)

    def _allowed(self, origin: str, service: Service | None) -> Headers:
        if self._is_any(service):
            # Never with credentials: any site could then act with its visitors' cookies.
            return [("access-control-allow-origin", "*")]
        if origin in self._origins:
            return [
                ("access-control-allow-origin", origin),
                ("access-control-allow-credentials", "true"),
                ("vary", "Origin"),
            ]
        return []
