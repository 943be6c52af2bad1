"""Where the server listens."""

from __future__ import annotations

from pydantic import Field, IPvAnyNetwork

from runner_service.config.base import Address, Section


class Server(Section):
    """Where the server listens."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65535)
    """Of the primary HTTP listener."""
    also_http: tuple[Address, ...] = ()
    """Further HTTP listeners."""
    http: tuple[Address, ...] = ()
    """All HTTP listeners, in place of `host`, `port` and `also_http`."""
    grpc: Address = "127.0.0.1:50051"
    shutdown_grace_seconds: float = Field(default=5.0, ge=0)
    """How long running jobs may go on once the server was told to stop."""
    max_timeout_seconds: float | None = Field(default=None, gt=0)
    """Cap on the deadline that a request may set, and the deadline of those that set none and stream nothing. None: no
    cap."""
    cors_origins: tuple[str, ...] = ()
    cors: bool = True
    """False: pages of other origins may call nothing, not even the documented APIs that let any."""
    log_requests: bool = False
    """A line in the server's own log for every HTTP request."""
    metrics: bool = False
    """Prometheus counters of HTTP requests at `/metrics`, without credentials."""
    trusted_proxies: tuple[IPvAnyNetwork, ...] = ()
    """Addresses and networks of reverse proxies whose `X-Forwarded-For`, `-Proto` and `-Host` are believed."""

    @property
    def http_addresses(self) -> tuple[Address, ...]:
        """Where HTTP is served, the primary listener first."""
        if self.http:
            return self.http
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (f"{host}:{self.port}", *self.also_http)
