"""The OpenAPI document of a gateway."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.catalog import Catalog
from gateway.codec import schema
from gateway.endpoints import Endpoint
from gateway.negotiate import MEDIA_TYPES
from gateway.openapi.comments import read_comments
from gateway.openapi.parameters import parameters, path_names
from gateway.openapi.schemas import Schema, Schemas
from gateway.options import GatewayOptions
from gateway.service import Service
from runner.gateway.v1 import options_pb2 as options

_METHODS = frozenset({"GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"})
_OPEN = frozenset({options.ACCESS_OPEN, options.ACCESS_PUBLIC})
_BINARY: Schema = {"type": "string", "format": "binary"}
_STATUS: Schema = {
    "type": "object",
    "description": "A google.rpc.Status.",
    "properties": {
        "code": {"type": "integer", "description": "A google.rpc.Code."},
        "message": {"type": "string"},
        "details": {"type": "array", "items": {"type": "object", "properties": {"@type": {"type": "string"}}}},
    },
}
_NUMBERS = frozenset({"${code}", "${http_status}"})


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
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
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
        "responses": _responses(endpoint, schemas),
    }
    if comment:
        summary, _, rest = comment.partition("\n\n")
        operation["summary"] = " ".join(summary.split())
        if rest:
            operation["description"] = rest
    body = _request_body(endpoint, schemas)
    if body is not None:
        operation["requestBody"] = body
    if endpoint.rules.access not in _OPEN:
        operation["security"] = [{"bearer": []}]
        if endpoint.rules.access == options.ACCESS_OPTIONAL:
            operation["security"].insert(0, {})
    return operation


def _request_body(endpoint: Endpoint, schemas: Schemas) -> dict[str, Any] | None:
    fields = endpoint.binder.body_fields
    if fields is None:
        return None
    required = {"required": True} if endpoint.rules.body_required else {}
    if endpoint.binder.raw_body:
        return {"content": {"*/*": {"schema": _BINARY}}, **required}
    encoder = endpoint.service.encoder
    if fields:
        owner = fields[-1].containing_type
        assert owner is not None
        made = schemas.field(fields[-1], owner, encoder)
    else:
        made = schemas.message(endpoint.method.input_type, encoder)
    return {"content": {"application/json": {"schema": made}}, **required}


def _responses(endpoint: Endpoint, schemas: Schemas) -> dict[str, Any]:
    rules = endpoint.rules
    success: dict[str, Any] = {"description": "Success."}
    content = _content(endpoint, schemas)
    status = rules.success_status or (302 if rules.location_field else 200)
    if rules.location_field:
        success["headers"] = {"Location": {"schema": {"type": "string"}}}
    is_empty = endpoint.method.output_type.full_name == "google.protobuf.Empty"
    if rules.empty_status and is_empty:
        status = rules.empty_status
    elif content:
        success["content"] = content
    responses: dict[str, Any] = {str(status): success}
    if rules.empty_status and not is_empty:
        responses[str(rules.empty_status)] = {"description": "Nothing to say: no body."}
    envelope = endpoint.service.envelope
    responses["default"] = {
        "description": "An error.",
        "content": {envelope.media_type: {"schema": _error_schema(endpoint.service)}},
    }
    return responses


def _content(endpoint: Endpoint, schemas: Schemas) -> dict[str, Any]:
    encoder, output = endpoint.service.encoder, endpoint.method.output_type
    if endpoint.framings is not None:
        made = schemas.message(output, encoder) if not endpoint.framings.is_body else _BINARY
        by_mode: dict[int, Schema] = {
            options.STREAM_MODE_ARRAY: {"type": "array", "items": made},
            options.STREAM_MODE_RAW: _BINARY,
        }
        return {MEDIA_TYPES[mode]: {"schema": by_mode.get(mode, made)} for mode in endpoint.framings.modes}
    if endpoint.response_body:
        field = endpoint.response_body[-1]
        owner = field.containing_type
        assert owner is not None
        return {endpoint.service.json_media_type: {"schema": schemas.field(field, owner, encoder)}}
    if output.full_name == schema.HTTP_BODY:
        return {"*/*": {"schema": _BINARY}}
    return {endpoint.service.json_media_type: {"schema": schemas.message(output, encoder)}}


def _error_schema(service: Service) -> Schema:
    if not service.rules.HasField("error_envelope"):
        return _STATUS
    return _template_schema(orjson.loads(service.rules.error_envelope.template))


def _template_schema(template: Any) -> Schema:
    if isinstance(template, dict):
        members = {name: _template_schema(value) for name, value in template.items()}
        return {"type": "object", "properties": members}
    if isinstance(template, list):
        return {"type": "array"}
    if isinstance(template, str):
        if template in _NUMBERS:
            return {"type": "integer"}
        if template == "${details}":
            return {"type": "array", "items": {"type": "object"}}
        return {"type": "object"} if template == "${metadata}" else {"type": "string"}
    return {"const": template}


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
    return any(endpoint.service is service for endpoint in catalog.endpoints)
