"""The REST side of the server: the gateway over the captured servicers, with what the settings say of it."""

from __future__ import annotations

from importlib.resources import files

from grpc import aio

from gateway import DEFAULT_ALLOWED, Admit, Gateway, GatewayOptions, HandlerCapture, Observer, access_log
from runner_client import __version__
from runner_service.config import Settings
from runner_service.http import READINESS_PATH
from runner_service.rpc.access import READ_HEADERS

METRICS_PATH = "/metrics"


def rest(
    handlers: HandlerCapture, *, settings: Settings, admission: Admit, interceptor: aio.ServerInterceptor
) -> Gateway:
    """Makes the gateway of a server."""
    server = settings.server
    observers: list[Observer] = [access_log] if server.log_requests else []
    documents = {}
    if server.metrics:
        from gateway.metrics import HttpMetrics

        metrics = HttpMetrics()
        observers.append(metrics)
        documents[METRICS_PATH] = metrics.page
    return Gateway(
        handlers=handlers,
        interceptors=[interceptor],
        descriptors=files("runner").joinpath("descriptors.binpb").read_bytes(),
        options=GatewayOptions(
            title="Runner Service",
            version=__version__,
            cors_origins=server.cors_origins,
            cors=server.cors,
            max_timeout_seconds=server.max_timeout_seconds,
            trusted_proxies=tuple(map(str, server.trusted_proxies)),
            allowed_headers=DEFAULT_ALLOWED | READ_HEADERS,
            admission=admission,
            observers=tuple(observers),
            documents=documents,
            readiness_path=READINESS_PATH,
            rpc_routes=True,
        ),
    )
