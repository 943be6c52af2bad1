"""What protos say of an RPC: its ``google.api.http`` bindings and our options."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, cast

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import MethodDescriptor

from runner.gateway.v1 import options_pb2 as options

_PATTERNS = {"get": "GET", "put": "PUT", "post": "POST", "delete": "DELETE", "patch": "PATCH"}


class AnnotationError(ValueError):
    """An RPC whose annotations can't be served; the text names the RPC and the reason."""


def rpc_rules(method: MethodDescriptor) -> options.MethodRules:
    """What of an RPC's rules holds for its RPC route: who may call it and how it fails, not how HTTP dresses it."""
    said = method_rules(method)
    return options.MethodRules(
        access=said.access,
        role=said.role,
        rate_class=said.rate_class,
        errors=said.errors,
        max_body_bytes=said.max_body_bytes,
    )


class Binding(NamedTuple):
    """One way to reach an RPC over HTTP."""

    http_method: str
    path: str
    body: str
    response_body: str
    is_rpc_route: bool = False


def method_rules(method: MethodDescriptor) -> options.MethodRules:
    """How an RPC meets HTTP; all defaults where nothing is said."""
    return method.GetOptions().Extensions[options.method]


def bindings(method: MethodDescriptor, *, rpc_route: bool) -> Iterator[Binding]:
    """Every binding of an RPC; with ``rpc_route`` also ``POST /package.Service/Method``, for unary ones."""
    method_options = method.GetOptions()
    if method_options.HasExtension(annotations_pb2.http):
        rule = cast(http_pb2.HttpRule, method_options.Extensions[annotations_pb2.http])
        yield _binding(rule)
        for additional in rule.additional_bindings:
            if additional.additional_bindings:
                raise AnnotationError(f"{method.full_name}: additional_bindings inside additional_bindings")
            yield _binding(additional)
    if rpc_route and not method.client_streaming and not method.server_streaming:
        yield Binding("POST", f"/{method.containing_service.full_name}/{method.name}", "*", "", is_rpc_route=True)


def _binding(rule: http_pb2.HttpRule) -> Binding:
    pattern = rule.WhichOneof("pattern")
    if pattern == "custom":
        return Binding(rule.custom.kind.upper(), rule.custom.path, rule.body, rule.response_body)
    if pattern is None:
        raise AnnotationError("a google.api.http annotation without a path")
    return Binding(_PATTERNS[pattern], getattr(rule, pattern), rule.body, rule.response_body)
