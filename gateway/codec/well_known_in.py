"""JSON forms → well-known types. Each function merges a JSON value into a message of its type."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import Descriptor

from gateway.codec import schema
from gateway.codec.errors import Refused
from gateway.codec.scalars_in import Decode, scalar_decoder
from gateway.codec.times import (
    DURATION,
    FIELD_MASK,
    TIMESTAMP,
    parse_duration,
    parse_field_mask,
    parse_timestamp,
)

if TYPE_CHECKING:
    from gateway.codec.decode import Decoder

Into = Callable[[Any, Any], None]


def well_known_into(descriptor: Descriptor, decoder: Decoder) -> Into | None:
    """How a message of a well-known type is read; None for all other types."""
    if descriptor.full_name in schema.WRAPPERS:
        value = descriptor.fields_by_name["value"]
        return _wrapper(scalar_decoder(value, strict=decoder.style.strict_types))
    if descriptor.full_name == "google.protobuf.Any":
        return _any(decoder)
    return WELL_KNOWN.get(descriptor.full_name)


def _timestamp(message: Any, value: Any) -> None:
    if type(value) is not str:
        raise Refused(TIMESTAMP, value)
    message.seconds, message.nanos = parse_timestamp(value)


def _duration(message: Any, value: Any) -> None:
    if type(value) is not str:
        raise Refused(DURATION, value)
    message.seconds, message.nanos = parse_duration(value)


def _field_mask(message: Any, value: Any) -> None:
    if type(value) is not str:
        raise Refused(FIELD_MASK, value)
    message.paths[:] = parse_field_mask(value)


def _wrapper(decode: Decode) -> Into:
    def into(message: Any, value: Any) -> None:
        message.value = decode(value)

    return into


def _value(message: Any, value: Any) -> None:
    if value is None:
        message.null_value = 0
    elif value is True or value is False:
        message.bool_value = value
    elif type(value) is str:
        message.string_value = value
    elif type(value) is dict:
        message.struct_value.SetInParent()
        _struct(message.struct_value, value)
    elif type(value) is list:
        message.list_value.SetInParent()
        _list(message.list_value, value)
    else:
        number = _as_float(value)
        if number is None:
            raise Refused("a number", value)
        message.number_value = number


def _as_float(value: Any) -> float | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if number - number == 0.0 else None


def _struct(message: Any, value: Any) -> None:
    if type(value) is not dict:
        raise Refused("an object", value)
    for name, member in value.items():
        try:
            _value(message.fields[name], member)
        except Refused as refused:
            raise refused.under(name) from None


def _list(message: Any, value: Any) -> None:
    if type(value) is not list:
        raise Refused("a list", value)
    for index, item in enumerate(value):
        try:
            _value(message.values.add(), item)
        except Refused as refused:
            raise refused.under(f"[{index}]") from None


def _any(decoder: Decoder) -> Into:
    def into(message: Any, value: Any) -> None:
        if type(value) is not dict:
            raise Refused("an object", value)
        if not value:
            return
        type_url = value.get("@type")
        if type(type_url) is not str or "/" not in type_url:
            raise Refused('a type URL like "type.googleapis.com/package.Type"', type_url).under("@type")
        descriptor = schema.find_message(decoder.pool, type_url)
        if descriptor is None:
            raise Refused("a type that this server knows", type_url).under("@type")
        rest = {name: member for name, member in value.items() if name != "@type"}
        inner = schema.message_class(descriptor)()
        if has_value_form(descriptor):
            if rest.keys() != {"value"}:
                raise Refused('the member "value"', value)
            try:
                decoder.into(descriptor)(inner, rest["value"])
            except Refused as refused:
                raise refused.under("value") from None
        else:
            decoder.into(descriptor)(inner, rest)
        message.type_url = type_url
        message.value = inner.SerializeToString(deterministic=True)

    return into


def has_value_form(descriptor: Descriptor) -> bool:
    """Whether a type inside an Any is written as ``{"@type": …, "value": …}``."""
    name = descriptor.full_name
    return (
        name in schema.WRAPPERS
        or name in WELL_KNOWN
        or name == "google.protobuf.Any"
        or schema.only_field(descriptor) is not None
    )


WELL_KNOWN: dict[str, Into] = {
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Duration": _duration,
    "google.protobuf.FieldMask": _field_mask,
    "google.protobuf.Struct": _struct,
    "google.protobuf.Value": _value,
    "google.protobuf.ListValue": _list,
}
