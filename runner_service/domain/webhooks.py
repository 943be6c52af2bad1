"""Where the service may call out to: hosts that the settings name, and what is never called."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA = (
    # Where clouds hand out credentials, outside of the link-local ranges.
    ipaddress.ip_address("fd00:ec2::254"),
    ipaddress.ip_address("100.100.100.200"),
)
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""NAT64: the last 32 bits are an IPv4 address."""


@dataclass(frozen=True, slots=True)
class AllowedHost:
    """One entry of the allow-list: ``ci.example.com``, ``*.example.com``, ``10.0.0.0/8``, each also with ``:PORT``."""

    name: str = ""
    """A host name in lower case; with ``below`` a domain whose hosts are meant."""
    below: bool = False
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> AllowedHost:
        """Raises ``ValueError`` for what is none of these."""
        network = _network(text)
        if network is not None:
            return cls(network=network)
        host, colon, port = text.rpartition(":")
        if colon:
            if not port.isdecimal() or not 0 < int(port) < 65536:
                raise ValueError(f"{text} has no port behind its colon")
            network = _network(host.strip("[]"))
            if network is not None:
                return cls(network=network, port=int(port))
        name = (host if colon else text).lower().rstrip(".")
        below = name.startswith("*.")
        name = name.removeprefix("*.")
        if not name or any(letter in name for letter in "*/@? \t"):
            raise ValueError(f"{text} is neither a host, nor *.DOMAIN, nor a network")
        return cls(name=name, below=below, port=int(port) if colon else None)

    def covers(self, host: str, port: int) -> bool:
        """Tells whether a URL's host, a name or an address, is meant."""
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            address = address_of(host)
            return address is not None and address in self.network
        host = host.lower().rstrip(".")
        return host.endswith(f".{self.name}") if self.below else host == self.name


def allowed_hosts(texts: Iterable[str]) -> tuple[AllowedHost, ...]:
    """The entries of an allow-list. Raises ``ValueError``."""
    return tuple(AllowedHost.parse(text) for text in texts)


def address_of(host: str) -> Address | None:
    """A host that is an address; IPv4 that is written as IPv6 as IPv4."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return plain(address)


def plain(address: Address) -> Address:
    """The address that is meant by one that is mapped or translated."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _TRANSLATED:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def is_never_called(address: Address) -> bool:
    """Link-local addresses, by which clouds hand out credentials, and what is no single host."""
    address = plain(address)
    return (
        address.is_link_local
        or address in _METADATA
        or address.is_multicast
        or address == ipaddress.IPv4Address("255.255.255.255")
    )


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text.strip("[]"))
    except ValueError:
        return None
