"""HTTP headers → invocation metadata, and response metadata → the HTTP reply.

**In.** Headers on the allow-list become metadata under their own name; ``Grpc-Metadata-Foo: x`` becomes ``foo: x``
(with ``-bin``, from base64). Cookies, hop-by-hop headers and names that the gateway itself sets never pass.
Four entries are the gateway's own:

- ``x-request-id`` (or the name that the options give): the client's when well formed, else a new one;
- ``x-http-listener``: ``host:port`` of the listener that took the request (a socket's path for unix sockets), which
  clients can't set: from it a server knows calls that came over a loopback listener;
- ``x-http-host``: the Host header, where there is one;
- ``x-http-route``: the method and path template that matched, such as ``GET /v1/books/{id}``.

**Out.** A servicer (or interceptor) shapes the HTTP reply by response metadata, initial or trailing, of replies and
errors alike:

- ``x-http-status: 202`` sets the status;
- ``x-http-content-length: 4096`` (initial) says how long a raw stream will be, so that it gets a Content-Length, ranges
  and resumption;
- ``x-http-header-NAME: value`` sets a header, ``x-http-header-content-type`` the media type;
  ``x-http-header-set-cookie`` may repeat; a redirect is a status with ``x-http-header-location``.

Names that ``GatewayOptions.reply_metadata`` lists become headers as they are, once for each of their values; those that
end in ``-bin`` as base64, padded. Everything else stays inside, ``grpc-*`` above all. Framing headers (Content-Length,
Transfer-Encoding, Connection …) can't be set, and neither can values with line breaks or other controls.
"""

from __future__ import annotations

import binascii
import functools
import itertools
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gateway.query import parse_query
from gateway.request import HttpRequest
from runner.gateway.v1 import options_pb2 as options

DEFAULT_ALLOWED = frozenset(
    {
        "accept-language",
        "authorization",
        "idempotency-key",
        "traceparent",
        "tracestate",
        "user-agent",
        "x-api-key",
        "x-request-id",
    }
)
LISTENER = "x-http-listener"
HOST = "x-http-host"
ROUTE = "x-http-route"
STATUS = "x-http-status"
LENGTH = "x-http-content-length"
HEADER = "x-http-header-"

_PREFIX = "grpc-metadata-"
_NEVER_IN = ("grpc-", "x-http-", ":")
_NEVER_OUT = frozenset({"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"})
_OWN = frozenset({"content-encoding", "content-type", "date", "server", "set-cookie"})
"""What every reply has from us, or what servicers set by ``x-http-header-*`` alone."""
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}")
_METADATA_NAME = re.compile(r"[a-z0-9_.-]+", re.ASCII)
_HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)


class Metadatum(NamedTuple):
    """One entry of metadata, shaped as grpc.aio's own."""

    key: str
    value: str | bytes


def request_id(given: bytes | None) -> str:
    """The client's request id when it is short and plain, else a new one."""
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode()
    return f"{_process.prefix}{next(_process.counter):016x}"


class _Process:
    """What new request ids are made of: random bits of this process, which no other shares, and a count."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.prefix = os.urandom(8).hex()
        self.counter = itertools.count(int.from_bytes(os.urandom(4)))


_process = _Process()
os.register_at_fork(after_in_child=_process.renew)


def query_metadata(
    request: HttpRequest, rules: Iterable[options.QueryMetadata], metadata: tuple[Metadatum, ...]
) -> tuple[Metadatum, ...]:
    """The metadata, with what query parameters say where no header did."""
    given = {entry.key for entry in metadata}
    added = []
    for rule in rules:
        if rule.metadata in given or rule.query not in request.raw_query:
            continue
        for parameter in parse_query(request.raw_query):
            if parameter.name == rule.query and parameter.value and not has_controls(parameter.value):
                added.append(Metadatum(rule.metadata, rule.prefix + parameter.value))
                break
    return (*metadata, *added)


def invocation_metadata(
    request: HttpRequest, request_id: str, route: str, *, allowed: frozenset[str], request_id_header: str
) -> tuple[Metadatum, ...]:
    """What a servicer sees of the request's headers."""
    entries = []
    for name, value in request.headers:
        if name in allowed:
            if name != request_id_header:
                entries.append(Metadatum(name, value))
        elif name.startswith(_PREFIX):
            entry = _prefixed(name.removeprefix(_PREFIX), value)
            if entry is not None and entry.key != request_id_header:
                entries.append(entry)
    entries.append(Metadatum(request_id_header, request_id))
    entries.append(_constant(LISTENER, request.listener))
    host = request.header("host")
    if host:
        entries.append(_constant(HOST, host))
    entries.append(_constant(ROUTE, route))
    return tuple(entries)


@functools.lru_cache(maxsize=1024)
def _constant(name: str, value: str) -> Metadatum:
    return Metadatum(name, value)


def _prefixed(name: str, value: str) -> Metadatum | None:
    if not _METADATA_NAME.fullmatch(name) or name.startswith(_NEVER_IN):
        return None
    if not name.endswith("-bin"):
        return Metadatum(name, value)
    try:
        return Metadatum(name, b64decode(value + "=" * (-len(value) % 4), validate=True))
    except (binascii.Error, ValueError):
        return None


@dataclass(slots=True)
class ReplyShape:
    """What response metadata says of the HTTP reply."""

    status: int = 0
    content_type: str = ""
    length: int | None = None
    """Of a raw stream."""
    headers: list[tuple[str, str]] = field(default_factory=list)


def reply_shape(*metadata: Iterable[tuple[str, Any]], listed: Set[str] = frozenset()) -> ReplyShape:
    """Reads response metadata; entries that are no valid HTTP are dropped, never sent.

    ``listed`` are the names that become headers as they are.
    """
    shape = ReplyShape()
    for entries in metadata:
        if not entries:
            continue
        for key, value in entries:
            if key in listed:
                _add_listed(shape, key, value)
                continue
            text = value if isinstance(value, str) else bytes(value).decode("latin-1")
            if key == STATUS and text.isdecimal() and 200 <= int(text) <= 599:
                shape.status = int(text)
            elif key == LENGTH and text.isdecimal() and text.isascii():
                shape.length = int(text)
            elif key.startswith(HEADER):
                _add_header(shape, key.removeprefix(HEADER), text)
    return shape


def check_listed(names: Iterable[str], *, taken: str) -> None:
    """Raises ``ValueError`` for a name of metadata that can't become a header of replies: ``taken`` is ours, too."""
    for name in names:
        if not _METADATA_NAME.fullmatch(name) or name.startswith(_NEVER_IN) or name in _NEVER_OUT | _OWN | {taken}:
            raise ValueError(f"reply_metadata: {name} can't be a header of replies")


def has_controls(value: str) -> bool:
    """Whether a header value has characters that would break out of it."""
    return _CONTROLS.search(value) is not None


def _add_listed(shape: ReplyShape, name: str, value: str | bytes) -> None:
    if name.endswith("-bin"):
        value = b64encode(value.encode() if isinstance(value, str) else value).decode()
    text = value if isinstance(value, str) else value.decode("latin-1")
    if not has_controls(text):
        shape.headers.append((name, text))


def _add_header(shape: ReplyShape, name: str, value: str) -> None:
    if name in _NEVER_OUT or not _HEADER_NAME.fullmatch(name) or has_controls(value):
        return
    if name == "content-type":
        shape.content_type = value
        return
    if name != "set-cookie":
        shape.headers = [each for each in shape.headers if each[0] != name]
    shape.headers.append((name, value))
