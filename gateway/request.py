"""The parts of an HTTP request that fields and metadata are filled from, read off an ASGI scope."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

Scope = dict[str, Any]
Headers = list[tuple[str, str]]


class HttpRequest:
    """A view on an ASGI scope. Headers are decoded when they are asked for: most never are."""

    __slots__ = ("first", "method", "raw_path", "raw_query", "scope")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.method: str = scope.get("method", "GET")
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        # latin-1 keeps every byte as one character: nothing is decoded before the path is split.
        self.raw_path: str = raw_path.decode("latin-1")
        raw_query: bytes = scope.get("query_string", b"")
        self.raw_query: str = raw_query.decode("latin-1") if raw_query else ""
        # ASGI servers give names in lower case. Reversed: the first value is the one that stays.
        self.first: dict[bytes, bytes] = dict(reversed(scope["headers"]))
        """The first value of each header: what is asked of every request is asked here, by its name in bytes."""

    @property
    def headers(self) -> Headers:
        """All headers, names in lower case, in order."""
        return [(name.decode("latin-1"), _text(value)) for name, value in self.scope["headers"]]

    def header(self, name: str) -> str | None:
        """The first value of a header, by its name in lower case."""
        value = self.first.get(_name(name))
        if value is None:
            return None
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.decode("latin-1")

    def header_list(self, name: str) -> list[str]:
        """Every value of a header, by its name in lower case."""
        wanted = _name(name)
        return [_text(value) for each, value in self.scope["headers"] if each == wanted]

    def cookie(self, name: str) -> str | None:
        """The value of a cookie."""
        for header in self.header_list("cookie"):
            for pair in header.split(";"):
                key, equals, value = pair.strip().partition("=")
                if equals and key == name:
                    return value.strip('"')
        return None

    @property
    def target(self) -> str:
        """Path and query as sent."""
        return f"{self.raw_path}?{self.raw_query}" if self.raw_query else self.raw_path

    @property
    def scheme(self) -> str:
        """``http`` or ``https`` (``ws``, ``wss`` on WebSockets)."""
        return str(self.scope.get("scheme", "http"))

    @property
    def client_host(self) -> str:
        """The client's address, without its port; empty when the server does not know it."""
        client = self.scope.get("client")
        return str(client[0]) if client else ""

    def peer(self) -> str:
        """The client as gRPC writes it: ``ipv4:127.0.0.1:5555``, ``ipv6:[::1]:5555`` or ``unix:``."""
        client = self.scope.get("client")
        return peer_text(client[0], client[1]) if client else "unix:"

    @property
    def listener(self) -> str:
        """``host:port`` of the listener that took the request; the path of a unix socket."""
        server = self.scope.get("server")
        return _listener(server[0], server[1]) if server else ""


@functools.lru_cache(maxsize=1024)
def _name(name: str) -> bytes:
    return name.encode("latin-1", "replace")


@functools.lru_cache(maxsize=64)
def _listener(host: str, port: int | None) -> str:
    if port is None:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def peer_text(host: str, port: int) -> str:
    """An address and port the way ``ServicerContext.peer()`` writes them."""
    return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One ``name=value`` of a query; ``value`` is None for a bare ``name``."""

    name: str
    value: str | None
