"""Annotations → the route tables: every binding of every RPC served.

Everything that can be wrong with an annotation is found here, at start-up, with the name of its RPC.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

from gateway.annotations import AnnotationError, bindings, method_rules
from gateway.codec import Decoder, Encoder, Style
from gateway.endpoints import Endpoint, make_endpoint
from gateway.fields import UnknownField
from gateway.options import GatewayOptions
from gateway.routes import Entry, RouteTable
from gateway.selectors import identity
from gateway.service import Service
from runner.gateway.v1 import options_pb2 as options


class Catalog:
    """The services of a gateway and their route tables."""

    def __init__(self, services: Iterable[str], settings: GatewayOptions, pool: DescriptorPool | None = None) -> None:
        self.pool = pool if pool is not None else descriptor_pool.Default()
        self.routes: RouteTable[Endpoint] = RouteTable()
        self.websocket_routes: RouteTable[Endpoint] = RouteTable()
        """A table of its own: a path may mean one thing to a GET and another to a WebSocket."""
        self.endpoints: list[Endpoint] = []
        self.services: list[Service] = []
        self._settings = settings
        self._codecs: dict[Style, tuple[Encoder, Decoder]] = {}
        self.sockets_only: dict[str, Endpoint] = {}
        """WebSockets by their path, where that is one path alone and a plain GET would fall to a less exact route."""
        for name in services:
            try:
                descriptor = cast(Any, self.pool).FindServiceByName(name)
            except KeyError:
                raise AnnotationError(f"no descriptor for the service {name}: import its stubs first") from None
            self._add_service(descriptor)
        self.sockets_only = {
            path: endpoint
            for endpoint in self.endpoints
            if endpoint.websocket_only and "{" not in endpoint.template.text
            for path in _spellings(endpoint)
            if self.routes.find("GET", path) is not None
        }

    def _add_service(self, descriptor: ServiceDescriptor) -> None:
        style = Style.of(descriptor.GetOptions().Extensions[options.service])
        if style not in self._codecs:
            self._codecs[style] = (Encoder(style, self.pool), Decoder(style, self.pool))
        try:
            service = Service.of(descriptor, *self._codecs[style])
        except ValueError as error:
            raise AnnotationError(f"{descriptor.full_name}: {error}") from error
        self.services.append(service)
        # Selectors choose among the RPCs of a path: all of them may then have the parameter in their query.
        selectors = frozenset(
            method_rules(method).when.query for method in descriptor.methods if method_rules(method).when.query
        )
        for method in descriptor.methods:
            for binding in bindings(method, rpc_route=self._settings.rpc_routes):
                try:
                    self._add(make_endpoint(service, method, binding, self._settings, selectors))
                except (ValueError, UnknownField) as error:
                    raise AnnotationError(f"{method.full_name}: {error}") from error

    def _add(self, endpoint: Endpoint) -> None:
        rules = endpoint.rules
        entry = Entry(
            target=endpoint,
            template=endpoint.template,
            name=endpoint.method.full_name,
            condition=identity(rules.when) if rules.HasField("when") else None,
            trailing_slash=endpoint.service.rules.optional_trailing_slash,
        )
        if options.STREAM_MODE_WEBSOCKET in rules.stream_modes:
            if endpoint.http_method != "GET":
                raise ValueError("a WebSocket begins with a GET")
            self.websocket_routes.add("GET", entry)
        if not endpoint.websocket_only:
            self.routes.add(endpoint.http_method, entry)
        self.endpoints.append(endpoint)


def _spellings(endpoint: Endpoint) -> list[str]:
    """The paths of a template without variables."""
    path = endpoint.template.text
    return [path, f"{path}/"] if endpoint.service.rules.optional_trailing_slash else [path]
