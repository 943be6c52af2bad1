"""Annotations → endpoints: every binding of every captured RPC, compiled, in one route table.

Everything that can be wrong with an annotation is found here, at start-up, with the name of its RPC.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

from gateway.binding import Binder
from gateway.codec import Decoder, Encoder, Style, schema
from gateway.codec.scalars_out import Encode
from gateway.envelope import Envelope, status_envelope
from gateway.fields import UnknownField, resolve_path
from gateway.framing import Framings
from gateway.options import GatewayOptions
from gateway.routes import Entry, RouteTable
from gateway.selectors import Condition, condition, identity
from gateway.template import Template, TemplateError, parse_template
from runner.gateway.v1 import options_pb2 as options

_PATTERNS = {"get": "GET", "put": "PUT", "post": "POST", "delete": "DELETE", "patch": "PATCH"}


class AnnotationError(ValueError):
    """An RPC whose annotations can't be served; the text names the RPC and the reason."""


@dataclass(frozen=True, slots=True)
class Service:
    """One gRPC service, and how it answers."""

    descriptor: ServiceDescriptor
    rules: options.ServiceRules
    encoder: Encoder
    decoder: Decoder
    envelope: Envelope

    @property
    def json_media_type(self) -> str:
        """Media type of JSON replies."""
        return self.rules.json_media_type or "application/json"


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
    encode: Encode
    """The reply (or its body field) → JSON."""
    framings: Framings | None
    """For server streams."""
    max_body_bytes: int
    rpc: str
    """``/package.Service/Method``."""
    route: str
    """HTTP method and path template."""
    client_streaming: bool

    @property
    def error_rules(self) -> tuple[options.ErrorRule, ...]:
        """The RPC's own rules before the service's."""
        return (*self.rules.errors, *self.service.rules.errors)


class Catalog:
    """The services of a gateway and their route table."""

    def __init__(self, services: Iterable[str], settings: GatewayOptions, pool: DescriptorPool | None = None) -> None:
        self.pool = pool if pool is not None else descriptor_pool.Default()
        self.routes: RouteTable[Endpoint] = RouteTable()
        self.websocket_routes: RouteTable[Endpoint] = RouteTable()
        """A table of its own: a path may mean one thing to a GET and another to a WebSocket."""
        self.endpoints: list[Endpoint] = []
        self.services: list[Service] = []
        self._settings = settings
        self._codecs: dict[Style, tuple[Encoder, Decoder]] = {}
        for name in services:
            try:
                descriptor = cast(Any, self.pool).FindServiceByName(name)
            except KeyError:
                raise AnnotationError(f"no descriptor for the service {name}: import its stubs first") from None
            self._add_service(descriptor)

    def _add_service(self, descriptor: ServiceDescriptor) -> None:
        rules = descriptor.GetOptions().Extensions[options.service]
        style = Style.of(rules)
        if style not in self._codecs:
            self._codecs[style] = (Encoder(style, self.pool), Decoder(style, self.pool))
        encoder, decoder = self._codecs[style]
        try:
            envelope = (
                Envelope(rules.error_envelope, encoder)
                if rules.HasField("error_envelope")
                else status_envelope(rules.json_media_type)
            )
        except ValueError as error:
            raise AnnotationError(f"{descriptor.full_name}: {error}") from error
        service = Service(descriptor, rules, encoder, decoder, envelope)
        self.services.append(service)
        # Selectors choose among the RPCs of a path: all of them may then have the parameter in their query.
        selectors = frozenset(
            method_rules(method).when.query for method in descriptor.methods if method_rules(method).when.query
        )
        for method in descriptor.methods:
            for http_method, path, body, response_body in _bindings(method, self._settings.rpc_routes):
                try:
                    self._add(service, method, http_method, path, body, response_body, selectors)
                except (ValueError, UnknownField, TemplateError) as error:
                    raise AnnotationError(f"{method.full_name}: {error}") from error

    def _add(
        self,
        service: Service,
        method: MethodDescriptor,
        http_method: str,
        path: str,
        body: str,
        response_body: str,
        selectors: frozenset[str],
    ) -> None:
        rules = method_rules(method)
        template = parse_template(path)
        binder = Binder(
            method.input_type,
            service.decoder,
            template,
            # A client stream with no body is made of WebSocket frames: each is a message, beside path and query.
            body="*" if method.client_streaming and not body else body,
            query_beside_body=method.client_streaming and not body,
            http_method=http_method,
            service_rules=service.rules,
            method_rules=rules,
            selectors=selectors,
            max_depth=self._settings.max_json_depth,
        )
        fields = resolve_path(method.output_type, tuple(response_body.split("."))) if response_body else ()
        omit = frozenset(name for name in (rules.status_field, rules.location_field) if name)
        for name in omit:
            resolve_path(method.output_type, (name,))
        has_condition = rules.HasField("when")
        framings = None
        if method.server_streaming:
            framings = Framings(method.output_type, service.encoder, rules, service.json_media_type)
        endpoint = Endpoint(
            service=service,
            method=method,
            rules=rules,
            http_method=http_method,
            template=template,
            binder=binder,
            condition=condition(rules.when) if has_condition else None,
            response_body=fields,
            encode=service.encoder.value(fields[-1]) if fields else service.encoder.message(method.output_type, omit),
            framings=framings,
            max_body_bytes=rules.max_body_bytes or self._settings.max_body_bytes,
            rpc=f"/{service.descriptor.full_name}/{method.name}",
            route=f"{http_method} {path}",
            client_streaming=method.client_streaming,
        )
        entry = Entry(
            target=endpoint,
            template=template,
            name=method.full_name,
            condition=identity(rules.when) if has_condition else None,
            trailing_slash=service.rules.optional_trailing_slash,
        )
        if options.STREAM_MODE_WEBSOCKET in rules.stream_modes:
            if http_method != "GET":
                raise ValueError("a WebSocket begins with a GET")
            self.websocket_routes.add(http_method, entry)
        if list(rules.stream_modes) != [options.STREAM_MODE_WEBSOCKET]:
            self.routes.add(http_method, entry)
        self.endpoints.append(endpoint)


class Owners:
    """Which service answers for a path that no RPC has: the longest prefix of whole segments that one owns."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._prefixes: dict[tuple[str, ...], Service] = {}
        for service in services:
            for prefix in service.rules.owns_prefix:
                self._prefixes[_segments(prefix)] = service

    def of(self, path: str) -> Service | None:
        """The owner of a path; None when nobody owns it."""
        segments = _segments(path)
        for end in range(len(segments), -1, -1):
            service = self._prefixes.get(segments[:end])
            if service is not None:
                return service
        return None


def method_rules(method: MethodDescriptor) -> options.MethodRules:
    """How an RPC meets HTTP; all defaults where nothing is said."""
    return method.GetOptions().Extensions[options.method]


def is_http_body(method: MethodDescriptor) -> bool:
    """Whether an RPC replies with ``google.api.HttpBody``."""
    return bool(method.output_type.full_name == schema.HTTP_BODY)


def _segments(path: str) -> tuple[str, ...]:
    return tuple(path.strip("/").split("/")) if path.strip("/") else ()


def _bindings(method: MethodDescriptor, rpc_routes: bool) -> Iterator[tuple[str, str, str, str]]:
    """(HTTP method, path, body, response body) of every binding of an RPC."""
    method_options = method.GetOptions()
    if method_options.HasExtension(annotations_pb2.http):
        rule = cast(http_pb2.HttpRule, method_options.Extensions[annotations_pb2.http])
        yield _binding(rule)
        for additional in rule.additional_bindings:
            if additional.additional_bindings:
                raise AnnotationError(f"{method.full_name}: additional_bindings inside additional_bindings")
            yield _binding(additional)
    if rpc_routes and not method.client_streaming and not method.server_streaming:
        yield "POST", f"/{method.containing_service.full_name}/{method.name}", "*", ""


def _binding(rule: http_pb2.HttpRule) -> tuple[str, str, str, str]:
    pattern = rule.WhichOneof("pattern")
    if pattern == "custom":
        return rule.custom.kind.upper(), rule.custom.path, rule.body, rule.response_body
    if pattern is None:
        raise AnnotationError("a google.api.http annotation without a path")
    return _PATTERNS[pattern], getattr(rule, pattern), rule.body, rule.response_body
