"""What callers have to show, as OpenAPI says it: from the access and credential options of the RPCs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.endpoints import Endpoint
from gateway.openapi.refusals import asks, role_of
from runner.gateway.v1 import options_pb2 as options

_SCHEMES: dict[int, tuple[str, dict[str, Any]]] = {
    options.CREDENTIAL_BEARER: (
        "bearer",
        {"type": "http", "scheme": "bearer", "description": "A key of the server, or a token (JWT)."},
    ),
    options.CREDENTIAL_API_KEY: ("apiKey", {"type": "apiKey", "in": "header", "name": "X-API-Key"}),
    options.CREDENTIAL_BASIC: ("basic", {"type": "http", "scheme": "basic"}),
    options.CREDENTIAL_RAW_TOKEN: (
        "rawToken",
        {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "The token (JWT) alone, with no word before it.",
        },
    ),
}
_OPTIONAL = frozenset({options.ACCESS_OPEN, options.ACCESS_OPTIONAL})


def security(endpoint: Endpoint) -> list[dict[str, list[str]]] | None:
    """The alternatives of one operation; None where nothing is ever asked for. ``{}`` first: it may be nothing.
    Each names the role that it must have, where one is needed."""
    rules = endpoint.rules
    if not asks(endpoint):
        return None
    shown = list(rules.credentials) or list(endpoint.service.rules.credentials) or [options.CREDENTIAL_BEARER]
    names = [_SCHEMES[each][0] for each in shown]
    names += [_query_scheme(each.query) for each in _tokens(endpoint)]
    role = role_of(endpoint)
    found: list[dict[str, list[str]]] = [{name: [role] if role else []} for name in names]
    return [{}, *found] if rules.access in _OPTIONAL else found


def security_schemes(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """Those that some operation names."""
    endpoints = list(endpoints)
    used = {name for endpoint in endpoints for each in security(endpoint) or [] for name in each}
    known = dict(_SCHEMES.values())
    for endpoint in endpoints:
        for each in _tokens(endpoint):
            known[_query_scheme(each.query)] = {
                "type": "apiKey",
                "in": "query",
                "name": each.query,
                "description": f"In place of the header {each.metadata}, for clients that can't set one.",
            }
    return {name: known[name] for name in sorted(used)}


def _tokens(endpoint: Endpoint) -> Iterable[options.QueryMetadata]:
    return [each for each in endpoint.query_metadata if each.metadata == "authorization"]


def _query_scheme(query: str) -> str:
    return f"{query}InQuery"
