"""Responses of operations: their statuses, headers and bodies, and the errors that the service documents."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import orjson

from gateway.endpoints import Endpoint
from gateway.envelope import Envelope
from gateway.negotiate import MEDIA_TYPES
from gateway.openapi.bodies import BINARY
from gateway.openapi.refusals import refusals
from gateway.openapi.schemas import Schema, Schemas
from gateway.service import Service
from runner.gateway.v1 import options_pb2 as options

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
RATE_HEADERS: dict[str, Any] = {
    "X-RateLimit-Limit": {"schema": {"type": "integer"}, "description": "Requests in a window."},
    "X-RateLimit-Remaining": {"schema": {"type": "integer"}, "description": "Of them, those that are left."},
    "X-RateLimit-Reset": {"schema": {"type": "integer"}, "description": "When the window ends, in Unix seconds."},
}
_RETRY: dict[str, Any] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}


def responses(endpoint: Endpoint, schemas: Schemas) -> dict[str, Any]:
    """All responses of an operation."""
    rules = endpoint.rules
    headers = dict(RATE_HEADERS) if rules.rate_class else {}
    found = _successes(endpoint, schemas)
    error = _error(endpoint.service)
    for each in refusals(endpoint):
        told = found.setdefault(str(each.status), {"description": each.description or _phrase(each.status)})
        told["content"] = {**told.get("content", {}), **_error(endpoint.service, each.envelope)["content"]}
    if rules.rate_class:
        found["429"] = {**error, "description": _phrase(429), "headers": _RETRY}
    if endpoint.websocket_only:
        found["426"] = {**error, "description": "The request was none for a WebSocket."}
    found = dict(sorted(found.items()))
    found["default"] = error
    if headers:
        for response in found.values():
            response["headers"] = {**response.get("headers", {}), **headers}
    return found


def _successes(endpoint: Endpoint, schemas: Schemas) -> dict[str, Any]:
    rules = endpoint.rules
    if endpoint.websocket_only:
        return {"101": {"description": "A WebSocket, of JSON text frames as `x-websocket` says."}}
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
    found: dict[str, Any] = {str(status): success}
    if rules.empty_status and not is_empty:
        found[str(rules.empty_status)] = {"description": "Nothing to say: no body."}
    if endpoint.raw_reply and endpoint.http_method == "GET":
        found["206"] = {"description": "The range that was asked for.", "content": content}
        found["304"] = {"description": "The client has this version."}
        found["416"] = {"description": "There is no such range."}
    return found


def _content(endpoint: Endpoint, schemas: Schemas) -> dict[str, Any]:
    encoder, output = endpoint.service.encoder, endpoint.method.output_type
    if endpoint.framings is not None:
        made = schemas.message(output, encoder) if not endpoint.framings.is_body else BINARY
        by_mode: dict[int, Schema] = {
            options.STREAM_MODE_ARRAY: {"type": "array", "items": made},
            options.STREAM_MODE_RAW: BINARY,
        }
        return {MEDIA_TYPES[mode]: {"schema": by_mode.get(mode, made)} for mode in endpoint.framings.modes}
    if endpoint.raw_reply:
        return {"*/*": {"schema": BINARY}}
    if endpoint.rules.reply_media_type:
        return {endpoint.rules.reply_media_type: {"schema": {"type": "string"}}}
    if endpoint.response_body:
        field = endpoint.response_body[-1]
        owner = field.containing_type
        assert owner is not None
        return {endpoint.service.json_media_type: {"schema": schemas.field(field, owner, encoder)}}
    return {endpoint.service.json_media_type: {"schema": schemas.message(output, encoder)}}


def _error(service: Service, declared: options.ErrorEnvelope | None = None) -> dict[str, Any]:
    """An error in the envelope of a rule, or of the service."""
    if declared is not None:
        content = {Envelope(declared).media_type: {"schema": _envelope_schema(declared)}}
    elif service.rules.HasField("error_envelope"):
        content = {service.envelope.media_type: {"schema": _envelope_schema(service.rules.error_envelope)}}
    else:
        content = {service.envelope.media_type: {"schema": _STATUS}}
    return {"description": "An error.", "content": content}


def _envelope_schema(declared: options.ErrorEnvelope) -> Schema:
    return {"type": "string"} if declared.HasField("text") else _template_schema(orjson.loads(declared.template))


def _template_schema(template: Any) -> Schema:
    if isinstance(template, dict):
        members = {name: _template_schema(value) for name, value in template.items() if "${" not in name}
        return {"type": "object", "properties": members}
    if isinstance(template, list):
        return {"type": "array"}
    if isinstance(template, str):
        if template in _NUMBERS:
            return {"type": "integer"}
        if template == "${details}":
            return {"type": "array", "items": {"type": "object"}}
        if template.startswith("${metadata_json."):
            return {}
        return {"type": "object"} if template == "${metadata}" else {"type": "string"}
    return {"const": template}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase + "."
    except ValueError:
        return "An error."
