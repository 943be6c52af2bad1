"""What all exchanges of a gateway share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import partial
from typing import Protocol

from gateway.catalog import Catalog
from gateway.cors import Cors
from gateway.dispatch import Backend
from gateway.envelope import Envelope
from gateway.errors import Failure
from gateway.http_reply import HttpReply
from gateway.metadata import invocation_metadata
from gateway.options import GatewayOptions
from gateway.service import Owners
from gateway.whole_replies import lines, pair
from runner.gateway.v1 import options_pb2 as proto_options


class Interruptible(Protocol):
    """A stream or WebSocket under way."""

    def interrupt(self, failure: Failure) -> None:
        """Ends it with an error that its client sees."""
        ...


class Site:
    """The parts that were made once, at construction."""

    def __init__(self, catalog: Catalog, backend: Backend, settings: GatewayOptions) -> None:
        self.catalog = catalog
        self.backend = backend
        self.settings = settings
        self.owners = Owners(catalog.services)
        self.cors = Cors(settings)
        self.draining = False
        """The gateway is going away."""
        self.streams: set[Interruptible] = set()
        """Whatever goes on until somebody ends it."""
        self.request_id_header = settings.request_id_header.encode("latin-1")
        self.read_metadata = partial(
            invocation_metadata, allowed=settings.allowed_headers, request_id_header=settings.request_id_header
        )
        """(request, its id, route) → what the servicer sees of it."""
        self.default_headers = [pair(header) for header in settings.default_headers.items()]
        own = (b"content-type", self.request_id_header)
        self.plain_headers = [each for each in self.default_headers if each[0] not in own]
        """Default headers of a reply that itself has no others than these two."""
        self.plain_head = functools.lru_cache(maxsize=256)(self._plain_head)
        """media type → the lines of the head of such a reply, up to the value of its request id."""
        self.documents: dict[str, Callable[[], HttpReply]] = {}
        """Replies to GET on paths that are no RPC's, such as the OpenAPI document; made when first asked for."""
        declared = proto_options.ErrorEnvelope(template=settings.error_template, media_type=settings.error_media_type)
        self.envelope = Envelope(declared)

    def _plain_head(self, media_type: str) -> bytes:
        return lines([pair(("content-type", media_type)), *self.plain_headers]) + self.request_id_header + b": "
