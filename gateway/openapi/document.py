"""The OpenAPI document of a gateway."""

from __future__ import annotations

from typing import Any

from gateway.catalog import Catalog
from gateway.endpoints import Endpoint
from gateway.openapi.bodies import message_schema, request_body
from gateway.openapi.comments import read_comments
from gateway.openapi.parameters import parameters, path_names
from gateway.openapi.responses import responses
from gateway.openapi.schemas import Schemas
from gateway.openapi.security import security, security_schemes
from gateway.options import GatewayOptions
from gateway.service import Service
from runner.gateway.v1 import options_pb2 as options

_METHODS = frozenset({"GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"})


def document(catalog: Catalog, settings: GatewayOptions, descriptors: bytes | None = None) -> dict[str, Any]:
    """An OpenAPI 3.1 document. Methods that OpenAPI has no word for are left out."""
    schemas = Schemas(read_comments(descriptors))
    paths: dict[str, dict[str, Any]] = {}
    known: dict[str, tuple[str, list[str]]] = {}  # the spelling of each path's shape: OpenAPI allows one
    used: set[str] = set()
    for endpoint in catalog.endpoints:
        if endpoint.http_method not in _METHODS or endpoint.template.text == endpoint.rpc:
            continue  # RPC routes are one rule for all, not an API to list
        path, names = known.setdefault(endpoint.template.shape, path_names(endpoint.template))
        item = paths.setdefault(path, {})
        operation = _operation(endpoint, names, schemas, used)
        other = item.get(endpoint.http_method.lower())
        item[endpoint.http_method.lower()] = operation if other is None else _merged(other, operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": settings.title, "version": settings.version},
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "securitySchemes": security_schemes(catalog.endpoints),
        },
        "tags": [_tag(service, schemas) for service in catalog.services if _served(service, catalog)],
    }


def _operation(endpoint: Endpoint, names: list[str], schemas: Schemas, used: set[str]) -> dict[str, Any]:
    method = endpoint.method
    comment = schemas.comment(method.full_name)
    operation_id, number = f"{endpoint.service.descriptor.name}_{method.name}", 2
    while operation_id in used:
        operation_id, number = f"{endpoint.service.descriptor.name}_{method.name}_{number}", number + 1
    used.add(operation_id)
    operation: dict[str, Any] = {
        "operationId": operation_id,
        "tags": [endpoint.service.descriptor.full_name],
        "parameters": parameters(endpoint, names, schemas),
        "responses": responses(endpoint, schemas),
    }
    if options.STREAM_MODE_WEBSOCKET in endpoint.rules.stream_modes:
        operation["x-websocket"] = _websocket(endpoint, schemas)
    if comment:
        summary, _, rest = comment.partition("\n\n")
        operation["summary"] = " ".join(summary.split())
        if rest:
            operation["description"] = rest
    body = request_body(endpoint, schemas)
    if body is not None:
        operation["requestBody"] = body
    shown = security(endpoint)
    if shown is not None:
        operation["security"] = shown
    return operation


def _websocket(endpoint: Endpoint, schemas: Schemas) -> dict[str, Any]:
    """The frames of a WebSocket, which OpenAPI has no place for."""
    frames: dict[str, Any] = {"receive": schemas.message(endpoint.method.output_type, endpoint.service.encoder)}
    if endpoint.client_streaming and not endpoint.binder.raw_body:
        frames["send"] = message_schema(endpoint, endpoint.binder.body_fields or (), schemas)
    return frames


def _merged(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any]:
    """Two RPCs on one method and path, told apart by a selector, are one operation to OpenAPI."""
    merged = dict(one)
    seen = {(each["in"], each["name"]) for each in one["parameters"]}
    more = [each for each in two["parameters"] if (each["in"], each["name"]) not in seen]
    merged["parameters"] = [*one["parameters"], *more]
    merged["responses"] = dict(one["responses"])
    for status, response in two["responses"].items():
        content = {**merged["responses"].get(status, {}).get("content", {}), **response.get("content", {})}
        merged["responses"][status] = {**response, **({"content": content} if content else {})}
    return merged


def _tag(service: Service, schemas: Schemas) -> dict[str, str]:
    name = service.descriptor.full_name
    comment = schemas.comment(name)
    return {"name": name, "description": comment} if comment else {"name": name}


def _served(service: Service, catalog: Catalog) -> bool:
    return any(endpoint.service is service and endpoint.template.text != endpoint.rpc for endpoint in catalog.endpoints)
