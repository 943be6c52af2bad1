"""One binding of one RPC, compiled: everything that an exchange asks of it."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor

from gateway.annotations import Binding, bindings, method_rules, rpc_rules
from gateway.binding import Binder
from gateway.cors import Cors
from gateway.envelope import ErrorRule
from gateway.fields import resolve_path
from gateway.framing import Framings
from gateway.options import GatewayOptions
from gateway.reply_body import BODILESS, Body, is_raw, reply_body
from gateway.selectors import Condition, condition
from gateway.service import Service
from gateway.template import Template, parse_template
from runner.gateway.v1 import options_pb2 as options


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One HTTP binding of one RPC."""

    service: Service
    method: MethodDescriptor
    rules: options.MethodRules
    http_method: str
    template: Template
    binder: Binder
    condition: Condition | None
    response_body: tuple[FieldDescriptor, ...]
    """The reply field that is the body; empty for the whole reply."""
    body: Body | None
    """The reply → its body and media type; None for streams."""
    raw_reply: bool
    """The reply is a ``google.api.HttpBody``: bytes to download."""
    framings: Framings | None
    """For server streams."""
    error_rules: tuple[ErrorRule, ...]
    """The RPC's own rules before the service's."""
    max_body_bytes: int
    rpc: str
    """``/package.Service/Method``."""
    route: str
    """HTTP method and path template."""
    client_streaming: bool
    simple: bool
    """Without a body, the request is at hand at once."""
    websocket_only: bool
    """Plain requests are answered 426."""
    takes_forms: bool
    """multipart/form-data."""
    query_metadata: tuple[options.QueryMetadata, ...]
    subject: tuple[tuple[str, ...], ...]
    """On the RPC route of a limited RPC: the fields that are variables of its path, and here stand in the body."""
    plain_status: int
    """The status of every success, where its reply is the message and CORS adds nothing to it; else 0."""


def make_endpoint(
    service: Service, method: MethodDescriptor, binding: Binding, settings: GatewayOptions, also_known: frozenset[str]
) -> Endpoint:
    """Compiles a binding; raises ``ValueError`` or ``UnknownField`` for one that can't be served.

    ``also_known`` are query parameters that need not be fields.
    """
    rules = rpc_rules(method) if binding.is_rpc_route else method_rules(method)
    template = parse_template(binding.path)
    output, response_body = method.output_type, binding.response_body
    fields = resolve_path(output, tuple(response_body.split("."))) if response_body else ()
    for name in (rules.status_field, rules.location_field):
        if name:
            resolve_path(output, (name,))
    streaming = method.server_streaming
    newline = service.rules.json_newline
    own_errors = tuple(ErrorRule(rule, service.encoder, newline=newline) for rule in rules.errors)
    return Endpoint(
        service=service,
        method=method,
        rules=rules,
        http_method=binding.http_method,
        template=template,
        binder=Binder(
            method.input_type,
            service.decoder,
            template,
            # A client stream with no body is made of WebSocket frames: each is a message, beside path and query.
            body="*" if method.client_streaming and not binding.body else binding.body,
            query_beside_body=method.client_streaming and not binding.body,
            http_method=binding.http_method,
            service_rules=service.rules,
            method_rules=rules,
            also_known=also_known | {each.query for each in rules.query_metadata},
            max_depth=settings.max_json_depth,
        ),
        condition=condition(rules.when) if rules.HasField("when") else None,
        response_body=fields,
        body=None if streaming else reply_body(output, fields, rules, service),
        raw_reply=not streaming and is_raw(output, fields),
        framings=Framings(
            output, service.encoder, rules, service.json_media_type, retry_seconds=settings.sse_retry_seconds
        )
        if streaming
        else None,
        error_rules=own_errors + service.error_rules,
        max_body_bytes=rules.max_body_bytes or settings.max_body_bytes,
        rpc=f"/{service.descriptor.full_name}/{method.name}",
        route=f"{binding.http_method} {binding.path}",
        client_streaming=method.client_streaming,
        simple=not method.client_streaming and not rules.HasField("multipart"),
        websocket_only=list(rules.stream_modes) == [options.STREAM_MODE_WEBSOCKET],
        takes_forms=rules.HasField("multipart"),
        query_metadata=tuple(rules.query_metadata),
        subject=_subject(method) if binding.is_rpc_route and rules.rate_class else (),
        plain_status=0
        if streaming or is_raw(output, fields) or Cors(settings).speaks(service)
        else _plain_status(rules),
    )


def _subject(method: MethodDescriptor) -> tuple[tuple[str, ...], ...]:
    annotated = next(bindings(method, rpc_route=False), None)
    return tuple(each.path for each in parse_template(annotated.path).variables) if annotated is not None else ()


def _plain_status(rules: options.MethodRules) -> int:
    status = rules.success_status or 200
    hangs_on_message = rules.status_field or rules.location_field or rules.empty_status
    return 0 if hangs_on_message or status in BODILESS else status
