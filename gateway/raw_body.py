"""Bodies that are taken as they are: ``google.api.HttpBody``, and fields with ``raw_body``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.codec import schema
from gateway.errors import Reason, refusal

RawTarget = Callable[[Any, bytes, str], None]  # (request, body, content type) → set in the request


def raw_target(descriptor: Descriptor, body_fields: tuple[FieldDescriptor, ...] | None) -> RawTarget | None:
    """How a body becomes bytes of a request; None where it is JSON, or there is none."""
    if body_fields is None:
        return None
    if not body_fields:
        return _http_body(()) if descriptor.full_name == schema.HTTP_BODY else None
    field = body_fields[-1]
    if field.is_repeated:
        return None
    if schema.is_message(field):
        return _http_body(body_fields) if schema.message_type(field).full_name == schema.HTTP_BODY else None
    if not schema.field_rules(field).raw_body:
        return None
    if field.type == schema.F.TYPE_BYTES:
        return _field(body_fields, lambda body: body)
    if field.type == schema.F.TYPE_STRING:
        return _field(body_fields, _text)
    raise ValueError(f"{field.full_name} has raw_body, which is for bytes and strings")


def _http_body(fields: tuple[FieldDescriptor, ...]) -> RawTarget:
    def put(message: Any, body: bytes, content_type: str) -> None:
        target = _owner(message, fields)
        target.content_type, target.data = content_type, body

    return put


def _field(fields: tuple[FieldDescriptor, ...], convert: Callable[[bytes], Any]) -> RawTarget:
    name = fields[-1].name

    def put(message: Any, body: bytes, content_type: str) -> None:
        setattr(_owner(message, fields[:-1]), name, convert(body))

    return put


def _owner(message: Any, fields: tuple[FieldDescriptor, ...]) -> Any:
    for field in fields:
        message = getattr(message, field.name)
        message.SetInParent()
    return message


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise refusal(Reason.BODY_MALFORMED, "the body is not UTF-8") from None
