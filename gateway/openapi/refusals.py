"""Errors that the options of an RPC bring with them, whatever its servicer does: each with the status that the rules
of its service give it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from google.rpc import code_pb2

from gateway.body import too_large
from gateway.endpoints import Endpoint
from gateway.errors import HTTP_STATUS, Failure, Reason, deadline_exceeded, refusal
from runner.gateway.v1 import options_pb2 as options

_ROLES = {
    options.ROLE_VIEWER: "viewer",
    options.ROLE_OPERATOR: "operator",
    options.ROLE_ADMIN: "admin",
    options.ROLE_WORKER: "worker",
}


def asks(endpoint: Endpoint) -> bool:
    """Whether a credential may be asked for. Not where nothing at all is said of it: then nobody here asks."""
    rules = endpoint.rules
    if rules.access in (options.ACCESS_UNSPECIFIED, options.ACCESS_PUBLIC) and not rules.credentials:
        said = rules.role or endpoint.service.rules.credentials
        return bool(said) and rules.access == options.ACCESS_UNSPECIFIED
    return True


def role_of(endpoint: Endpoint) -> str:
    """The least role as a word; empty where any valid credential will do, or none is asked for."""
    return _ROLES.get(endpoint.rules.role, "") if asks(endpoint) else ""


@dataclass(frozen=True, slots=True)
class Documented:
    """One way in which a request can fail."""

    status: int
    description: str
    """Empty where the status says it all."""
    envelope: options.ErrorEnvelope | None
    """Of the rule that is for it; None: the service's."""


def refusals(endpoint: Endpoint) -> Iterator[Documented]:
    """All of them; one failure may have several, told apart by the request."""
    for rule in endpoint.rules.errors:
        if rule.http_status:
            yield Documented(rule.http_status, "", rule.envelope if rule.HasField("envelope") else None)
    for failure, description in _failures(endpoint):
        plain = failure.http_status or HTTP_STATUS[failure.code]
        for compiled in endpoint.error_rules:
            if compiled.covers(failure):
                said = compiled.said
                envelope = said.envelope if said.HasField("envelope") else None
                yield Documented(said.http_status or plain, description, envelope)
                if not said.HasField("when"):
                    break
        else:
            yield Documented(plain, description, None)


def _failures(endpoint: Endpoint) -> Iterator[tuple[Failure, str]]:
    """With a description of its own, where there is more to say than the status does."""
    rules, role = endpoint.rules, role_of(endpoint)
    yield refusal(Reason.FIELD_INVALID, ""), ""
    yield deadline_exceeded(), "The deadline that the request has set, or the server's cap on it, has passed."
    if asks(endpoint):
        yield Failure(code_pb2.UNAUTHENTICATED, ""), "No credential where one is needed, or a bad one."
    if role:
        yield Failure(code_pb2.PERMISSION_DENIED, ""), f"A credential without the role {role}."
    if endpoint.binder.body_fields is not None and not endpoint.websocket_only:
        yield too_large(endpoint.max_body_bytes), f"The body is larger than {endpoint.max_body_bytes} bytes."
        yield refusal(Reason.MEDIA_TYPE_UNSUPPORTED, "", http_status=415), ""
    if endpoint.framings is not None and not endpoint.websocket_only and not rules.any_accept:
        yield refusal(Reason.NOT_ACCEPTABLE, "", http_status=406), "None of the framings is one that `Accept` names."
