"""Prometheus counters and latency histograms by path template: never by path, of which there is no end."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from gateway.http_reply import HttpReply
from gateway.observation import Observation

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Seconds. Calls are answered in well under a millisecond; what waits, waits for seconds.
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class HttpMetrics:
    """An observer that counts. Give it to ``GatewayOptions.observers``, and ``page`` to ``documents``."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        labels = ("method", "route")
        self._requests = Counter(
            "http_requests", "Requests answered, by path template.", (*labels, "code"), registry=self.registry
        )
        self._seconds = Histogram(
            "http_request_duration_seconds",
            "From the request's headers to the end of its answer.",
            labels,
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._bytes = Counter("http_response_bytes", "Bytes of reply bodies.", labels, registry=self.registry)

    def __call__(self, observation: Observation) -> None:
        """Counts one request."""
        method = observation.http_method if observation.http_method in _METHODS else "OTHER"
        route = observation.route or "none"
        self._requests.labels(method, route, str(observation.status)).inc()
        self._seconds.labels(method, route).observe(observation.seconds)
        self._bytes.labels(method, route).inc(observation.bytes_out)

    def page(self) -> HttpReply:
        """The counters in Prometheus' text format."""
        return HttpReply(200, generate_latest(self.registry), [("content-type", CONTENT_TYPE_PLAIN_0_0_4)])
