"""Choosing by a part of the request: between RPCs that share a method and path (``MethodRules.when``), and between
error rules (``ErrorRule.when``)."""

from __future__ import annotations

from collections.abc import Callable

from gateway.query import parse_query
from gateway.request import HttpRequest
from runner.gateway.v1 import options_pb2 as options

Condition = Callable[[HttpRequest], bool]


def identity(selector: options.Selector) -> str:
    """Equal for selectors that choose the same requests."""
    values = ",".join(sorted(value.lower() for value in selector.values))
    prefixes = ",".join(sorted(prefix.lower() for prefix in selector.prefixes))
    return f"{selector.query}|{selector.header.lower()}|{selector.cookie}|{values}|{prefixes}"


def condition(selector: options.Selector) -> Condition:
    """The test of a selector; raises ``ValueError`` when it names no part, or two."""
    if bool(selector.query) + bool(selector.header) + bool(selector.cookie) != 1:
        raise ValueError("a selector names a query parameter, a header or a cookie")
    values = frozenset(value.lower() for value in selector.values)
    prefixes = tuple(prefix.lower() for prefix in selector.prefixes)

    def chosen(given: list[str]) -> bool:
        if not values and not prefixes:
            return bool(given)
        return any(item in values or item.startswith(prefixes) for item in given)

    if selector.query:
        query = selector.query
        return lambda request: chosen(_query_values(request, query))
    if selector.cookie:
        cookie = selector.cookie
        return lambda request: chosen([value.lower() for value in [request.cookie(cookie)] if value is not None])
    header = selector.header.lower()
    return lambda request: chosen(_header_items(request, header))


def _query_values(request: HttpRequest, name: str) -> list[str]:
    if name not in request.raw_query:
        return []
    return [
        "true" if parameter.value is None else parameter.value.lower()
        for parameter in parse_query(request.raw_query)
        if parameter.name == name
    ]


def _header_items(request: HttpRequest, name: str) -> list[str]:
    return [item.partition(";")[0].strip().lower() for value in request.header_list(name) for item in value.split(",")]
