"""``X-Forwarded-For``, ``-Proto`` and ``-Host``: taken from trusted proxies, and from nobody else."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable
from typing import Any

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_SECURE = {"http": "https", "ws": "wss"}


class Proxies:
    """The proxies that may speak for their clients."""

    def __init__(self, trusted: Iterable[str]) -> None:
        """``trusted`` are addresses and networks, such as ``10.0.0.0/8``; raises ``ValueError`` for what is neither."""
        self._networks: list[Network] = [ipaddress.ip_network(each) for each in trusted]
        self._trusts = functools.lru_cache(maxsize=4096)(self._is_trusted)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def seen_through(self, scope: dict[str, Any]) -> dict[str, Any]:
        """The scope as the client's own connection would have made it; unchanged where the peer is no trusted proxy."""
        client = scope.get("client")
        if client is not None and not self._trusts(client[0]):
            return scope  # a unix socket has no address: whoever may open it is trusted
        changed: dict[str, Any] = {}
        given = {name: value.decode("latin-1") for name, value in scope["headers"] if name.startswith(b"x-forwarded-")}
        address = self._client(given.get(b"x-forwarded-for", ""))
        if address:
            changed["client"] = (address, 0)
        if _last(given.get(b"x-forwarded-proto", "")).lower() in ("https", "wss"):
            changed["scheme"] = _SECURE.get(scope["scheme"], scope["scheme"])
        host = _last(given.get(b"x-forwarded-host", ""))
        if host:
            others = [each for each in scope["headers"] if each[0] != b"host"]
            changed["headers"] = [(b"host", host.encode("latin-1")), *others]
        return {**scope, **changed}

    def _client(self, forwarded_for: str) -> str:
        """The last address that no trusted proxy is known by: what is before it the client may have made up."""
        address = ""
        for item in reversed(forwarded_for.split(",")):
            given = _address(item.strip())
            if given is None:
                break
            address = given
            if not self._trusts(given):
                break
        return address

    def _is_trusted(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
        return any((mapped or parsed) in network for network in self._networks)


def _address(text: str) -> str | None:
    """The address of an item, which some proxies write with a port; None when it is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def _last(items: str) -> str:
    return items.rpartition(",")[2].strip()
