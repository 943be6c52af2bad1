"""One call on its way to a backend, and what comes back beside messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.errors import Failure
from gateway.metadata import Metadatum
from gateway.request import HttpRequest

Entries = list[tuple[str, Any]]
Metadata = tuple[Metadatum, ...]
ReadMetadata = Callable[[HttpRequest, str, str], Metadata]  # (request, its id, route) → what the servicer sees of it


class Call:
    """What a backend is told of a call, and where it leaves the metadata of the reply."""

    __slots__ = (
        "_metadata",
        "_read",
        "_request",
        "deadline",
        "initial",
        "method",
        "opened",
        "refusal",
        "refused",
        "request_id",
        "route",
        "trailing",
    )

    def __init__(self, method: str, route: str, request: HttpRequest, request_id: str, read: ReadMetadata) -> None:
        """``read`` is asked when somebody wants to know the metadata: many calls run without."""
        self.method = method
        """``/package.Service/Method``."""
        self.route = route
        """HTTP method and path template; empty for calls of the gateway's own."""
        self._request = request
        self._read = read
        self._metadata: Metadata | None = None
        self.request_id = request_id
        self.deadline: float | None = None
        """On the event loop's clock."""
        self.refusal: Failure | None = None
        """What is wrong with the request. The call still goes through the interceptors, so that authentication and
        rate limits hold for it too, and fails in place of the servicer."""
        self.refused = False
        """The refusal was reached: no interceptor failed the call before."""
        self.opened: Callable[[], None] | None = None
        """Called when the servicer has sent initial metadata that is not empty."""
        self.initial: Entries = []
        """Initial metadata of the reply."""
        self.trailing: Entries = []
        """Trailing metadata of the reply."""

    @property
    def metadata(self) -> Metadata:
        """What the servicer sees of the request's headers."""
        if self._metadata is None:
            self._metadata = self._read(self._request, self.request_id, self.route)
        return self._metadata

    @metadata.setter
    def metadata(self, metadata: Metadata) -> None:
        self._metadata = metadata

    @property
    def peer(self) -> str:
        """The client as gRPC writes it: ``ipv4:127.0.0.1:5555``."""
        return self._request.peer()

    @property
    def secure(self) -> bool:
        """The request came over TLS."""
        return self._request.scheme in ("https", "wss")
