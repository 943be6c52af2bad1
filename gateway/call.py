"""One call on its way to a backend, and what comes back beside messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.errors import Failure
from gateway.metadata import Metadatum

Entries = list[tuple[str, Any]]
Metadata = tuple[Metadatum, ...]


class Call:
    """What a backend is told of a call, and where it leaves the metadata of the reply."""

    __slots__ = (
        "_metadata",
        "_peer",
        "deadline",
        "initial",
        "method",
        "opened",
        "refusal",
        "refused",
        "request_id",
        "secure",
        "trailing",
    )

    def __init__(
        self,
        method: str,
        *,
        metadata: Callable[[], Metadata],
        peer: Callable[[], str],
        request_id: str,
        secure: bool = False,
    ) -> None:
        """``metadata`` and ``peer`` are asked when somebody wants to know: many calls run without."""
        self.method = method
        """``/package.Service/Method``."""
        self._metadata: Callable[[], Metadata] | Metadata = metadata
        self._peer = peer
        self.request_id = request_id
        self.deadline: float | None = None
        """On the event loop's clock."""
        self.refusal: Failure | None = None
        """What is wrong with the request. The call still goes through the interceptors, so that authentication and
        rate limits hold for it too, and fails in place of the servicer."""
        self.refused = False
        """The refusal was reached: no interceptor failed the call before."""
        self.secure = secure
        """The request came over TLS."""
        self.opened: Callable[[], None] | None = None
        """Called when the servicer has sent initial metadata that is not empty."""
        self.initial: Entries = []
        """Initial metadata of the reply."""
        self.trailing: Entries = []
        """Trailing metadata of the reply."""

    @property
    def metadata(self) -> Metadata:
        """What the servicer sees of the request's headers."""
        known = self._metadata
        if not isinstance(known, tuple):
            known = self._metadata = known()
        return known

    @metadata.setter
    def metadata(self, metadata: Metadata) -> None:
        self._metadata = metadata

    @property
    def peer(self) -> str:
        """The client as gRPC writes it: ``ipv4:127.0.0.1:5555``."""
        return self._peer()
