"""The hook between routing and decoding: who sets ``GatewayOptions.admission`` decides here who may go on.

It runs once per request that found a route, HTTP or WebSocket, before any of its body is read: a request that it
refuses costs nothing but its headers. One exception: on the RPC route of an RPC with a ``rate_class``, what the call is
about stands in the body, which is read first, so that no spelling of a call is counted apart from the others.

What it adds to ``reply_headers`` is on every answer to the request, refusals of the decoder and failures of the
servicer included, so that rate limits can be told on all of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from google.protobuf.descriptor import MethodDescriptor

from gateway.metadata import Metadatum
from gateway.request import Headers, HttpRequest
from runner.gateway.v1 import options_pb2 as options


@dataclass(slots=True, kw_only=True)
class Admission:
    """A request that has found its route. Frozen but for ``reply_headers`` and ``metadata``."""

    method: MethodDescriptor
    """The RPC."""
    rules: options.MethodRules
    """Its options; ``rate_class``, ``access`` and ``role`` are there for hooks like this one."""
    service_rules: options.ServiceRules
    rpc: str
    """``/package.Service/Method``."""
    route: str
    """HTTP method and path template: ``GET /v1/books/{id}``."""
    variables: dict[str, str]
    """The decoded path variables by field path: ``{"book.name": "dune"}``; where they stand in the body, they are empty
    if that could not be read."""
    peer: str
    """The client as gRPC writes it, ``ipv4:127.0.0.1:5555``; behind a trusted proxy, the one that it names."""
    client: str
    """The client's address alone; empty when not known."""
    request: HttpRequest
    """All headers, the raw path and query."""
    metadata: list[Metadatum]
    """What the servicer will see. The hook may add to it."""
    reply_headers: Headers = field(default_factory=list)
    """(lower-case name, value) pairs for every answer to this request."""


Admit = Callable[[Admission], Awaitable[None]]
"""Returns to let the request go on, raises ``Failure`` to refuse it (``Failure.from_status`` makes one of a
``google.rpc.Status``). Anything else that it raises is a crash: 500, logged."""
