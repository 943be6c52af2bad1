"""What RFC 9112 demands of the head of a request, and a server in front may have let through."""

from __future__ import annotations

import functools
import re

from google.rpc import code_pb2

from gateway.errors import Reason, refusal
from gateway.request import HttpRequest

MOST_FIELDS = 256
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.%A-Za-z_~-]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:[0-9]*)?")
_VERSIONS = frozenset({"1.0", "1.1", "2", "3"})


def check_head(request: HttpRequest) -> None:
    """Raises ``Failure``: 400 for a Host that is missing, doubled or none, 431, 501 and 505.

    Two Hosts, or a coding that one of two servers in a row does not know, are how requests are smuggled past the first.
    """
    scope, first = request.scope, request.first
    version, host = scope.get("http_version", "1.0"), first.get(b"host")
    if version == "1.1" and host is None:
        raise refusal(Reason.HEAD_INVALID, "the request has no Host")
    if version not in _VERSIONS:
        raise refusal(Reason.HEAD_INVALID, "this speaks HTTP/1.1", code=code_pb2.UNIMPLEMENTED, http_status=505)
    headers = scope["headers"]
    if len(first) != len(headers):
        if len(headers) > MOST_FIELDS:
            raise too_many()
        if sum(name == b"host" for name, _ in headers) > 1:
            raise refusal(Reason.HEAD_INVALID, "the request has two Hosts")
    elif len(headers) > MOST_FIELDS:
        raise too_many()
    if host and not _is_host(host):
        raise refusal(Reason.HEAD_INVALID, "the Host is none")
    coding = first.get(b"transfer-encoding")
    if coding is not None and coding.strip().lower() != b"chunked":
        raise refusal(Reason.HEAD_INVALID, "no Transfer-Encoding but chunked is known", code=code_pb2.UNIMPLEMENTED)


def too_many() -> Exception:
    """431."""
    return refusal(Reason.HEAD_INVALID, f"the request has more than {MOST_FIELDS} headers", http_status=431)


@functools.lru_cache(maxsize=1024)
def _is_host(host: bytes) -> bool:
    return _HOST.fullmatch(host) is not None
