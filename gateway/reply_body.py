"""Reply messages → the bytes of a reply body, compiled once per binding of an RPC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import orjson
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.codec import schema
from gateway.service import Service
from runner.gateway.v1 import options_pb2 as options

Body = Callable[[Any], tuple[bytes, str]]  # message → (body, media type)

BODILESS = frozenset({204, 205, 304})
"""Statuses whose replies have no body, whatever the message is."""

_ANY = "application/octet-stream"


def reply_body(
    output: Descriptor, fields: tuple[FieldDescriptor, ...], rules: options.MethodRules, service: Service
) -> Body:
    """How replies of a unary RPC are written; ``fields`` lead to the ``response_body``, none for all of the reply.

    Raises ``ValueError`` for a text reply of what is no text.
    """
    names = [field.name for field in fields]
    if rules.reply_media_type:
        return _text(output, fields, rules.reply_media_type)
    if is_raw(output, fields):

        def http_body(message: Any) -> tuple[bytes, str]:
            value = _at(message, names)
            return value.data, value.content_type or _ANY

        return http_body
    omit = frozenset(name for name in (rules.status_field, rules.location_field) if name)
    encode = service.encoder.value(fields[-1]) if fields else service.encoder.message(output, omit)
    media_type = service.json_media_type
    option = orjson.OPT_APPEND_NEWLINE if service.rules.json_newline else 0
    dumps = orjson.dumps
    if names:
        return lambda message: (dumps(encode(_at(message, names)), option=option), media_type)
    if option:
        return lambda message: (dumps(encode(message), option=option), media_type)
    return lambda message: (dumps(encode(message)), media_type)


def is_raw(output: Descriptor, fields: tuple[FieldDescriptor, ...]) -> bool:
    """Whether the reply is a ``google.api.HttpBody``."""
    if fields and (fields[-1].is_repeated or not schema.is_message(fields[-1])):
        return False
    last = cast(Descriptor, fields[-1].message_type) if fields else output
    return last.full_name == schema.HTTP_BODY


def _text(output: Descriptor, fields: tuple[FieldDescriptor, ...], media_type: str) -> Body:
    if not fields and len(output.fields) == 1:
        fields = (output.fields[0],)
    if not fields or fields[-1].is_repeated or schema.is_message(fields[-1]):
        raise ValueError("reply_media_type takes a reply that is a single scalar field")
    names = [field.name for field in fields]
    if fields[-1].type == schema.F.TYPE_BYTES:
        return lambda message: (_at(message, names), media_type)
    if fields[-1].type == schema.F.TYPE_STRING:
        return lambda message: (_at(message, names).encode(), media_type)
    return lambda message: (orjson.dumps(_at(message, names)), media_type)


def _at(message: Any, names: list[str]) -> Any:
    for name in names:
        message = getattr(message, name)
    return message
