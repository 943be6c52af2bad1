"""Settings of a gateway as a whole; what differs between services is in their proto options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.admission import Admit
from gateway.http_reply import HttpReply
from gateway.metadata import DEFAULT_ALLOWED, check_listed
from gateway.observation import Observer


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayOptions:
    """Everything has a default that is safe to serve with."""

    title: str = "API"
    """Title of the OpenAPI document."""
    version: str = "1"
    """Version of the API in the OpenAPI document."""
    max_body_bytes: int = 1 << 20
    """Cap on request bodies (after decompression) where the RPC does not say; above it: 413."""
    max_json_depth: int = 100
    """How deep JSON bodies may nest; above it: 400."""
    keepalive_seconds: float = 15.0
    """Silence after which an SSE stream gets a comment (and an NDJSON stream an empty line)."""
    first_message_seconds: float = 1.0
    """How long the headers of a stream wait for its first message, whose error can still choose the status."""
    compress_min_bytes: int | None = 1024
    """Replies that are longer go as gzip or zstd to who takes them; None: none do. Streams never do."""
    batch_bytes: int = 256 * 1024
    """How much of a stream may wait for the client before the servicer has to."""
    slow_reader_seconds: float = 5.0
    """How long the queue of a WebSocket may stay full where its RPC says ``close_slow_reader``."""
    max_timeout_seconds: float | None = None
    """Cap on the deadline that a client may set, and the deadline of calls that set none, unless they stream: up- and
    downloads take the time they take. None: no cap."""
    admission: Admit | None = None
    """Asked about every request once its route is known, see ``gateway.admission``."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks whose ``X-Forwarded-*`` headers are believed. Unix sockets are, when any is."""
    request_id_header: str = "x-request-id"
    """Carries the request id both ways, and to the servicer under this name."""
    allowed_headers: frozenset[str] = DEFAULT_ALLOWED
    """Request headers (lower case) that become metadata; ``grpc-metadata-*`` always do."""
    reply_metadata: frozenset[str] = frozenset()
    """Response metadata (lower case) that becomes headers; of streams, what comes before their first message."""
    observers: tuple[Observer, ...] = ()
    """Told of every request when it is over: ``observing.access_log``, ``metrics.HttpMetrics``, or one's own."""
    documents: Mapping[str, Callable[[], HttpReply]] = field(default_factory=dict)
    """Replies to GET on further paths, made anew for every request."""
    sse_retry_seconds: float | None = None
    """Told to event streams: how long their clients wait before they come back. None: what the client likes."""
    default_headers: Mapping[str, str] = field(default_factory=lambda: {"x-content-type-options": "nosniff"})
    """Sent with every reply, unless the reply has a header of that name."""
    error_template: str = '{"error": "${title}", "message": "${message}"}'
    """Envelope of errors on paths that no service owns."""
    error_media_type: str = "application/json"
    """Media type of those errors."""
    openapi_path: str | None = "/openapi.json"
    """Where the OpenAPI document is served; None: nowhere."""
    docs_path: str | None = "/docs"
    """Where a page shows that document; None: nowhere."""
    readiness_path: str | None = None
    """Where probes ask whether the servers behind take work, as grpc.health.v1 says: 200 or 503. None: nowhere."""
    rpc_routes: bool = False
    """Also serve every unary RPC of the captured services at ``POST /package.Service/Method``."""
    cors_origins: tuple[str, ...] = ()
    """Origins that browsers may call from; ``("*",)`` for all, without credentials. Empty: those that a service itself
    lets call (``CorsRules``), mostly none."""
    cors: bool = True
    """False: no CORS headers, whatever services say."""
    cors_headers: tuple[str, ...] = (
        "Accept",
        "Authorization",
        "Content-Type",
        "Idempotency-Key",
        "Last-Event-ID",
        "X-API-Key",
        "X-CSRF-Token",
        "X-Request-ID",
    )
    """Request headers that cross-origin callers may send."""
    cors_expose: tuple[str, ...] = (
        "Content-Disposition",
        "Content-Range",
        "ETag",
        "Location",
        "Retry-After",
        "X-RateLimit-Limit",
        "X-RateLimit-Remaining",
        "X-RateLimit-Reset",
        "X-Request-ID",
    )
    """Reply headers that cross-origin callers may read."""
    cors_max_age: int = 600
    """Seconds that a preflight may be remembered."""

    def __post_init__(self) -> None:
        check_listed(self.reply_metadata, taken=self.request_id_header)
