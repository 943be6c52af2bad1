"""Request bodies of operations."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from gateway.endpoints import Endpoint
from gateway.openapi.parameters import query_fields
from gateway.openapi.schemas import Schema, Schemas

BINARY: Schema = {"type": "string", "format": "binary"}


def request_body(endpoint: Endpoint, schemas: Schemas) -> dict[str, Any] | None:
    """What a request may hold; None where it has no body (and where it has frames instead)."""
    fields = endpoint.binder.body_fields
    if fields is None or endpoint.websocket_only:
        return None
    return {"content": _content(endpoint, fields, schemas), **_required(endpoint)}


def _content(endpoint: Endpoint, fields: tuple[FieldDescriptor, ...], schemas: Schemas) -> dict[str, Any]:
    multipart = endpoint.rules.multipart
    if endpoint.takes_forms:
        content: dict[str, Any] = {"multipart/form-data": {"schema": _form(endpoint, schemas)}}
        return {**content, "*/*": {"schema": BINARY}} if multipart.or_raw else content
    if endpoint.binder.raw_body:
        return {"*/*": {"schema": BINARY}}
    made = message_schema(endpoint, fields, schemas)
    if endpoint.client_streaming:
        return {"application/x-ndjson": {"schema": {**made, "description": "One such value a line."}}}
    return {"application/json": {"schema": made}}


def message_schema(endpoint: Endpoint, fields: tuple[FieldDescriptor, ...], schemas: Schemas) -> Schema:
    """The schema of a JSON body, or of one message of a stream of them."""
    encoder = endpoint.service.encoder
    if not fields:
        return schemas.message(endpoint.method.input_type, encoder)
    owner = fields[-1].containing_type
    assert owner is not None
    return schemas.field(fields[-1], owner, encoder)


def _form(endpoint: Endpoint, schemas: Schemas) -> Schema:
    part = endpoint.rules.multipart.part or "file"
    named = {each["name"]: each["schema"] for each in query_fields(endpoint, schemas)}
    return {"type": "object", "properties": {part: BINARY, **named}, "required": [part]}


def _required(endpoint: Endpoint) -> dict[str, bool]:
    needed = endpoint.rules.body_required or (endpoint.takes_forms and not endpoint.rules.multipart.or_raw)
    return {"required": True} if needed else {}
