"""Who may call what: the access option of each RPC, read once from the descriptors."""

from __future__ import annotations

import contextvars
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol
from urllib.parse import urlsplit

from google.api import annotations_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from runner.gateway.v1 import options_pb2
from runner_service.domain.errors import CredentialsMissing
from runner_service.domain.principals import Principal, Role, demand
from runner_service.services.auth import Auth

LISTENER_KEY = "x-http-listener"
"""Metadata by which the gateway names the listener that took the request."""
HOST_KEY = "host"
"""Metadata with the request's Host header."""
ORIGIN_KEY = "origin"
"""Metadata with the request's Origin header: a browser names the site whose page calls."""
FORWARDED_KEYS = frozenset({"x-forwarded-for", "forwarded", "x-real-ip", "via"})
"""Metadata with the headers by which proxies say that the call is somebody else's."""
SITE_KEY = "sec-fetch-site"
"""Metadata with the header by which a browser says whose page calls, also where it names no origin."""
API_KEY_KEY = "x-api-key"
"""Metadata with the header of that name."""
READ_HEADERS = frozenset({HOST_KEY, ORIGIN_KEY, SITE_KEY}) | FORWARDED_KEYS
"""Headers that the gateway must hand on, beside its own defaults."""
ANYBODY = Principal(name="", role=Role.ADMIN)
"""Whoever reaches a loopback listener that asks for no credential."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The options of one RPC that say who may call it, and how often."""

    access: int
    role: Role
    rate_class: str = ""
    audited: bool = False
    """It can change something, as its role or its HTTP method tells, and its calls are noted."""
    feed: bool = False
    """It streams to whoever knows what to ask for: no role, and no change by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """What is known of who calls, before any credential is judged."""

    peer: str = ""
    """As gRPC writes it: ``ipv4:127.0.0.1:5555``."""
    authorization: str | None = None
    api_key: str | None = None
    listener: str | None = None
    """Of a call through HTTP: the address that took it."""
    host: str | None = None
    origin: str | None = None
    site: str | None = None
    """What a browser says of the page that calls: ``cross-site`` is another one's."""
    request_id: str = ""
    forwarded: bool = False
    """Another program passed the call on for somebody, and is not trusted to say for whom."""
    local: bool = False
    """It comes from this machine, and nobody else's page or proxy speaks through it. Filled by the gatekeeper."""
    closed: bool = True
    """A credential is demanded even where the RPC is open. Filled by the gatekeeper."""


current_principal: contextvars.ContextVar[Principal] = contextvars.ContextVar("current_principal", default=ANYBODY)
current_caller: contextvars.ContextVar[Caller] = contextvars.ContextVar("current_caller", default=Caller())  # noqa: B039  frozen


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
            rules[f"/{name}/{method.name}"] = _rule_of(method)
    return rules


def _rule_of(method: MethodDescriptor) -> Rule:
    options = method.GetOptions()
    said = options.Extensions[options_pb2.method]
    role = Role(said.role)
    verb = options.Extensions[annotations_pb2.http].WhichOneof("pattern")
    changes = role in (Role.OPERATOR, Role.ADMIN) or verb in ("post", "put", "patch", "delete")
    return Rule(
        access=said.access or options_pb2.ACCESS_REQUIRED,
        role=role,
        rate_class=said.rate_class,
        audited=changes and verb != "get" and not said.not_audited,
        feed=role is Role.NONE and method.server_streaming,
    )


class Form(Protocol):
    """How an API takes credentials. One for each documented API, in ``rpc.forms``."""

    any_origin: bool
    """Pages of other sites may call without a credential, for nothing that they could do or read harms."""

    async def admit(self, rule: Rule, caller: Caller) -> Principal:
        """Returns who calls, or refuses. Off loopback (``caller.closed``) nothing but what is PUBLIC is open.

        Raises:
            Unauthenticated: No valid credential where one is needed, or a bad one.
            PermissionDenied: A valid one without the role.
        """
        ...


class BearerForm:
    """``Authorization: Bearer KEY``: the native API's form, and SCT's."""

    any_origin = False

    def __init__(self, auth: Auth) -> None:
        self._auth = auth

    async def admit(self, rule: Rule, caller: Caller) -> Principal:
        authorization = caller.authorization
        if rule.access == options_pb2.ACCESS_PUBLIC:
            return ANYBODY
        if rule.access == options_pb2.ACCESS_REQUIRED or (caller.closed and authorization is None):
            if authorization is None:
                raise CredentialsMissing()
        elif (rule.access == options_pb2.ACCESS_OPEN and not caller.closed) or authorization is None:
            return ANYBODY
        principal = await self._auth.authenticate(authorization)
        demand(principal, rule.role)
        return principal


@dataclass(slots=True, kw_only=True)
class Gatekeeper:
    """Decides on each call."""

    auth: Auth
    rules: Mapping[str, Rule]
    require_auth: bool
    insecure: bool
    forms: Mapping[str, Form] = field(default_factory=dict)
    """By proto package. Others: `BearerForm`."""
    origins: frozenset[str] = frozenset()
    """Origins that the settings name: their pages speak as if they were ours."""
    _forms: dict[str, Form] = field(init=False)
    _form: Form = field(init=False)

    def __post_init__(self) -> None:
        self._form = BearerForm(self.auth)
        packages = {method: method[1:].rpartition("/")[0].rpartition(".")[0] for method in self.rules}
        self._forms = {method: self.forms.get(package, self._form) for method, package in packages.items()}

    async def admit(self, method: str, caller: Caller) -> Principal:
        """Returns who calls. Raises what `Form.admit` does."""
        return (await self.judge(method, caller))[0]

    async def judge(self, method: str, caller: Caller) -> tuple[Principal, Caller]:
        """Returns who calls, and what was found out about the caller. Raises what `Form.admit` does."""
        rule, form = self.rules.get(method, _CLOSED), self._forms.get(method, self._form)
        caller = self.look_at(rule, form, caller)
        return await form.admit(rule, caller), caller

    def look_at(self, rule: Rule, form: Form, caller: Caller) -> Caller:
        """The caller with `Caller.local` and `Caller.closed` filled."""
        here = not caller.forwarded and is_local(caller.peer, caller.listener, caller.host)
        # A page of another site makes the browser here call us: it is the site that speaks, and nobody of this machine.
        # An image or a script of a page has no origin, but still a site.
        if here and not (form.any_origin or rule.feed):
            if caller.origin is not None:
                here = self._is_own_page(caller.origin, caller.host)
            else:
                here = caller.site != "cross-site"
        # Safe by default: what is open on this machine is closed to others unless somebody said so aloud.
        # The local worker registers over the socket in the data directory: who reaches it could read every key there.
        own_worker = rule.role is Role.WORKER and caller.peer.startswith("unix")
        closed = (self.require_auth and not own_worker) or not (self.insecure or here)
        return Caller(
            peer=caller.peer,
            authorization=caller.authorization,
            api_key=caller.api_key,
            listener=caller.listener,
            host=caller.host,
            origin=caller.origin,
            site=caller.site,
            request_id=caller.request_id,
            forwarded=caller.forwarded,
            local=here,
            closed=closed,
        )

    def _is_own_page(self, origin: str, host: str | None) -> bool:
        if origin in self.origins:
            return True
        try:
            site = urlsplit(origin)
            name = site.hostname or ""
        except ValueError:
            return False
        return bool(name) and (site.netloc == host or name == "localhost" or _is_loopback(f"{name}:0"))


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
