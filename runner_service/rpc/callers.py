"""What a call's metadata says of its caller."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from runner_service.rpc.access import API_KEY_KEY, FORWARDED_KEYS, HOST_KEY, LISTENER_KEY, ORIGIN_KEY, SITE_KEY, Caller

_FIELDS = {
    "authorization": "authorization",
    API_KEY_KEY: "api_key",
    LISTENER_KEY: "listener",
    HOST_KEY: "host",
    "x-http-host": "host",  # the same, through a gateway of another process: gRPC keeps the plain name for itself
    ORIGIN_KEY: "origin",
    SITE_KEY: "site",
    "x-request-id": "request_id",
}


def caller_of(metadata: Iterable[tuple[str, Any]], peer: str) -> Caller:
    """Reads what matters; of a name that comes twice, the last."""
    found: dict[str, Any] = {}
    forwarded = False
    for key, value in metadata:
        name = _FIELDS.get(key)
        if name is not None:
            found[name] = value
        elif key in FORWARDED_KEYS:
            forwarded = True
    # gRPC escapes the brackets of an address of IPv6, which the gateway writes as they are.
    peer = unquote(peer) if peer.startswith("ipv6:") else peer
    return Caller(peer=peer, forwarded=forwarded, **found)
