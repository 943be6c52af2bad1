"""Well-known types → their JSON forms."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError

from gateway.codec import schema
from gateway.codec.scalars_out import Encode, scalar_encoder
from gateway.codec.times import duration_text, field_mask_text, timestamp_text

if TYPE_CHECKING:
    from gateway.codec.encode import Encoder


def well_known_encoder(descriptor: Descriptor, encoder: Encoder) -> Encode | None:
    """How a message of a well-known type is printed; None for all other types."""
    if descriptor.full_name in schema.WRAPPERS:
        return _wrapper(descriptor, encoder)
    make = _MAKERS.get(descriptor.full_name)
    return make(encoder) if make else None


def timestamp_encoder(digits: int) -> Encode:
    """Timestamps with a fixed number of fractional digits (0: as many as needed)."""
    return lambda message: timestamp_text(message.seconds, message.nanos, digits)


def _timestamp(encoder: Encoder) -> Encode:
    return timestamp_encoder(encoder.style.timestamp_digits)


def _duration(encoder: Encoder) -> Encode:
    return lambda message: duration_text(message.seconds, message.nanos)


def _field_mask(encoder: Encoder) -> Encode:
    if encoder.style.proto_names:
        return lambda message: ",".join(message.paths)
    return lambda message: field_mask_text(message.paths)


def _wrapper(descriptor: Descriptor, encoder: Encoder) -> Encode:
    encode = scalar_encoder(descriptor.fields_by_name["value"], encoder.style)
    if encode is None:
        return lambda message: message.value
    return lambda message: encode(message.value)


def _value_json(message: Any) -> Any:
    kind = message.WhichOneof("kind")
    if kind == "struct_value":
        return _struct_json(message.struct_value)
    if kind == "list_value":
        return _list_json(message.list_value)
    if kind == "number_value":
        number = message.number_value
        if number - number != 0.0:
            raise ValueError("a google.protobuf.Value can't hold NaN or Infinity")
        return number
    return None if kind is None or kind == "null_value" else getattr(message, kind)


def _struct_json(message: Any) -> dict[str, Any]:
    # Sorted: a map has no order of its own, and two servers should answer with the same bytes.
    return {key: _value_json(value) for key, value in sorted(message.fields.items(), key=_by_key)}


def _list_json(message: Any) -> list[Any]:
    return [_value_json(value) for value in message.values]


def _by_key(item: tuple[str, Any]) -> str:
    return item[0]


def _any(encoder: Encoder) -> Encode:
    def encode(message: Any) -> dict[str, Any]:
        type_url = message.type_url
        if not type_url:
            return {}
        descriptor = schema.find_message(encoder.pool, type_url)
        if descriptor is None:
            return _opaque(message)
        inner = schema.message_class(descriptor)()
        try:
            inner.ParseFromString(message.value)
        except DecodeError:
            return _opaque(message)
        printed = encoder.message(descriptor)(inner)
        if isinstance(printed, dict) and descriptor.full_name not in _VALUE_TYPES:
            return {"@type": type_url, **printed}
        return {"@type": type_url, "value": printed}

    return encode


def _opaque(message: Any) -> dict[str, Any]:
    """A type that is not known here: its bytes, so that a reader who knows it loses nothing."""
    return {"@type": message.type_url, "value": b64encode(message.value).decode()}


_MAKERS: dict[str, Callable[[Encoder], Encode]] = {
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Duration": _duration,
    "google.protobuf.FieldMask": _field_mask,
    "google.protobuf.Struct": lambda encoder: _struct_json,
    "google.protobuf.Value": lambda encoder: _value_json,
    "google.protobuf.ListValue": lambda encoder: _list_json,
    "google.protobuf.Any": _any,
}
# Types whose JSON form may be an object that is not their members.
_VALUE_TYPES = frozenset({"google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.Any"})
