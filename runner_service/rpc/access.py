"""Who may call what: the access option of each RPC, read once from the descriptors."""

from __future__ import annotations

import contextvars
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from google.protobuf import descriptor_pool

from runner.gateway.v1 import options_pb2
from runner_service.domain.errors import CredentialsMissing
from runner_service.services.auth import Auth, Principal, Role, demand

LISTENER_KEY = "x-http-listener"
"""Metadata by which the gateway names the listener that took the request."""
HOST_KEY = "host"
"""Metadata with the request's Host header."""
ANYBODY = Principal(name="", role=Role.ADMIN)
"""Whoever reaches a loopback listener that asks for no credential."""

current_principal: contextvars.ContextVar[Principal] = contextvars.ContextVar("current_principal", default=ANYBODY)


@dataclass(frozen=True, slots=True)
class Rule:
    """The access option of one RPC."""

    access: int
    role: Role


_CLOSED = Rule(options_pb2.ACCESS_REQUIRED, Role.ADMIN)
_PROBE = Rule(options_pb2.ACCESS_PUBLIC, Role.NONE)
_READ = Rule(options_pb2.ACCESS_OPTIONAL, Role.VIEWER)

WELL_KNOWN = {
    "/grpc.health.v1.Health/Check": _PROBE,
    "/grpc.health.v1.Health/List": _PROBE,
    "/grpc.health.v1.Health/Watch": _PROBE,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": _READ,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _READ,
}
"""Methods whose protos are not ours and so bear no option."""


def read_rules(services: Iterable[str]) -> dict[str, Rule]:
    """The rule of every method of the named services, by its full path ``/package.Service/Method``."""
    pool = descriptor_pool.Default()
    rules = dict(WELL_KNOWN)
    for name in services:
        for method in pool.FindServiceByName(name).methods:
            said = method.GetOptions().Extensions[options_pb2.method]
            rules[f"/{name}/{method.name}"] = Rule(said.access or options_pb2.ACCESS_REQUIRED, Role(said.role))
    return rules


class Gatekeeper:
    """Decides on each call."""

    def __init__(self, *, auth: Auth, rules: dict[str, Rule], require_auth: bool, insecure: bool) -> None:
        self._auth = auth
        self._rules = rules
        self._require_auth = require_auth
        self._insecure = insecure

    async def admit(
        self, method: str, *, authorization: str | None, peer: str, listener: str | None, host: str | None = None
    ) -> Principal:
        """Returns who calls. ``listener`` and ``host`` (the Host header) are those of a call through HTTP.

        Raises:
            Unauthenticated: No valid credential where one is needed, or a bad one.
            PermissionDenied: A valid one without the role.
        """
        rule = self._rules.get(method, _CLOSED)
        if rule.access == options_pb2.ACCESS_PUBLIC:
            return ANYBODY
        # Safe by default: what is open on this machine is closed to others unless somebody said so aloud.
        closed = self._require_auth or not (self._insecure or is_local(peer, listener, host))
        if rule.access == options_pb2.ACCESS_REQUIRED or (closed and authorization is None):
            if authorization is None:
                raise CredentialsMissing()
        elif (rule.access == options_pb2.ACCESS_OPEN and not closed) or authorization is None:
            return ANYBODY
        principal = await self._auth.authenticate(authorization)
        demand(principal, rule.role)
        return principal


def is_local(peer: str, listener: str | None, host: str | None = None) -> bool:
    """Tells whether a call came over a unix socket or loopback: by its peer and, through HTTP, its listener too.

    A call whose Host header is a name other than ``localhost`` is none: a web page can give its own name the address of
    this machine (DNS rebinding), and so make a browser here call us as if the page were ours.
    """
    if peer.startswith("unix"):
        return True
    if (listener is not None and not _is_loopback(listener)) or (host and not _is_own_name(host)):
        return False
    scheme, _, address = peer.partition(":")
    return scheme in ("ipv4", "ipv6") and _is_loopback(address)


@lru_cache(maxsize=4096)
def _is_loopback(address: str) -> bool:
    host = address.replace("%5B", "[").replace("%5D", "]").rpartition(":")[0].strip("[]")
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    # ::ffff:127.0.0.1, as a listener on all addresses sees this machine.
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


@lru_cache(maxsize=4096)
def _is_own_name(host: str) -> bool:
    name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.lower().rstrip(".") == "localhost" or name.lower().endswith(".localhost")
    return True
