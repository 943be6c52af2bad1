"""Choosing between RPCs that share a method and path: ``MethodRules.when``."""

from __future__ import annotations

from collections.abc import Callable

from gateway.query import parse_query
from gateway.request import HttpRequest
from runner.gateway.v1 import options_pb2 as options

Condition = Callable[[HttpRequest], bool]


def identity(selector: options.Selector) -> str:
    """Equal for selectors that choose the same requests."""
    values = ",".join(sorted(value.lower() for value in selector.values))
    return f"{selector.query}|{selector.header.lower()}|{values}"


def condition(selector: options.Selector) -> Condition:
    """The test of a selector; raises ``ValueError`` when it names no part, or two."""
    if bool(selector.query) == bool(selector.header):
        raise ValueError("a selector names either a query parameter or a header")
    values = frozenset(value.lower() for value in selector.values)
    if selector.query:
        name = selector.query
        return lambda request: _chosen(_query_values(request, name), values)
    header = selector.header.lower()
    return lambda request: _chosen(_header_items(request, header), values)


def _chosen(given: list[str], values: frozenset[str]) -> bool:
    return bool(given) and (not values or any(item in values for item in given))


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
