"""Scalar values → what orjson prints. ``None`` as an encoder means: the value as it is."""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import orjson
from google.protobuf.descriptor import FieldDescriptor

from gateway.codec import schema
from gateway.codec.schema import F
from gateway.codec.style import Style

Encode = Callable[[Any], Any]

_FLOAT = struct.Struct("<f")


def scalar_encoder(field: FieldDescriptor, style: Style) -> Encode | None:
    """How one value of a scalar or enum field is printed, also inside lists and maps."""
    rules = schema.field_rules(field)
    if rules.raw_json:
        return _raw_text if field.type == F.TYPE_STRING else _raw_bytes
    if field.type in schema.INT64_TYPES:
        return None if style.integer_numbers or rules.integer_number else str
    if field.type == F.TYPE_DOUBLE:
        return _double
    if field.type == F.TYPE_FLOAT:
        return _float
    if field.type == F.TYPE_BYTES:
        return _bytes_text if rules.text else _base64
    if field.type == F.TYPE_ENUM:
        return _enum(field)
    return None


def key_encoder(key: FieldDescriptor) -> Encode | None:
    """How the keys of a map become member names."""
    if key.type == F.TYPE_STRING:
        return None
    if key.type == F.TYPE_BOOL:
        return lambda value: "true" if value else "false"
    return str


def _enum(field: FieldDescriptor) -> Encode:
    if schema.enum_type(field).full_name == schema.NULL_VALUE:
        return lambda value: None
    return Words(schema.words(schema.enum_type(field)))


class Words(dict[int, Any]):
    """A number without a name, from a newer peer, prints as itself."""

    def __call__(self, number: int) -> Any:
        return self[number]

    def __missing__(self, number: int) -> int:
        return number


def _double(value: float) -> Any:
    if value - value == 0.0:
        return value
    return _special(value)


def _special(value: float) -> str:
    if value != value:
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _float(value: float) -> Any:
    """The shortest decimal that reads back as the same 32-bit float."""
    if value - value != 0.0:
        return _special(value)
    bits = _FLOAT.pack(value)
    for digits in (6, 7, 8):
        short = float(f"{value:.{digits}g}")
        try:
            if _FLOAT.pack(short) == bits:
                return short
        except OverflowError:  # near the largest float, rounded up past it
            continue
    return float(f"{value:.9g}")


def _base64(value: bytes) -> str:
    return b64encode(value).decode()


def _bytes_text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _raw_bytes(value: bytes) -> Any:
    return orjson.Fragment(value) if value else None


def _raw_text(value: str) -> Any:
    return orjson.Fragment(value) if value else None
