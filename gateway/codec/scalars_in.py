"""JSON values → scalars, and texts (of paths, queries and headers) → scalars; what does not fit is ``Refused``."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from gateway.codec import schema
from gateway.codec.errors import Refused
from gateway.codec.raw import RawText
from gateway.codec.schema import F

Decode = Callable[[Any], Any]

_INTEGER = re.compile(r"-?\d{1,20}", re.ASCII)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_SPECIAL = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}", re.ASCII)
# Half a unit in the last place above FLT_MAX: what still rounds down to it.
FLOAT_LIMIT = 3.4028235677973366e38
_BOOLS = {"true": True, "1": True, "false": False, "0": False}


def scalar_decoder(field: FieldDescriptor, *, strict: bool) -> Decode:
    """How one JSON value of a scalar or enum field is read."""
    rules = schema.field_rules(field)
    if rules.raw_json:
        return _raw_text if field.type == F.TYPE_STRING else _raw_bytes
    if field.type in schema.INT_TYPES:
        return _integer(field, strict=strict)
    if field.type in (F.TYPE_DOUBLE, F.TYPE_FLOAT):
        return _real(field, strict=strict)
    if field.type == F.TYPE_BOOL:
        return _bool
    if field.type == F.TYPE_STRING:
        return _string
    if field.type == F.TYPE_BYTES:
        return _text_bytes if rules.text else _base64
    return _enum(field)


def text_decoder(field: FieldDescriptor) -> Decode:
    """How the text of a path segment, query value, map key or header is read."""
    if field.type in schema.INT_TYPES:
        check = _integer(field, strict=True)

        def integer(text: str) -> int:
            # Stricter than a body: no 1e3, no 5.0, no sign but minus.
            return check(int(text) if _INTEGER.fullmatch(text) else text)  # type: ignore[no-any-return]

        return integer
    if field.type == F.TYPE_BOOL:
        return _bool_text
    if field.type in (F.TYPE_DOUBLE, F.TYPE_FLOAT):
        return _real(field, strict=False)
    if field.type == F.TYPE_ENUM:
        return _enum_text(field)
    return scalar_decoder(field, strict=False)


def expected_integer(field: FieldDescriptor) -> str:
    """What an integer field wants, for error messages."""
    bits = 64 if field.type in schema.INT64_TYPES else 32
    return f"an unsigned {bits}-bit integer" if field.type in schema.UNSIGNED_TYPES else f"a {bits}-bit integer"


def integer_range(field: FieldDescriptor) -> tuple[int, int]:
    """The least and the greatest value of an integer field."""
    bits = 64 if field.type in schema.INT64_TYPES else 32
    return (0, 2**bits - 1) if field.type in schema.UNSIGNED_TYPES else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _integer(field: FieldDescriptor, *, strict: bool) -> Decode:
    low, high = integer_range(field)
    expected = expected_integer(field)

    def decode(value: Any) -> int:
        number = value
        if type(number) is not int:
            if strict:
                raise Refused(expected, value)
            if type(number) is str:
                number = _number(number)
            if type(number) is float and number.is_integer():
                number = int(number)
            if type(number) is not int:
                raise Refused(expected, value)
        if low <= number <= high:
            return number
        raise Refused(expected, value)

    return decode


def _number(text: str) -> int | float | None:
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else None


def _real(field: FieldDescriptor, *, strict: bool) -> Decode:
    single = field.type == F.TYPE_FLOAT
    limit = FLOAT_LIMIT if single else float("inf")
    expected = "a 32-bit float" if single else "a number"

    def decode(value: Any) -> float:
        number = value
        if type(number) is str:
            if number in _SPECIAL:
                return _SPECIAL[number]
            number = None if strict else _number(number)
        if type(number) is int:
            try:
                number = float(number)
            except OverflowError:
                raise Refused(expected, value) from None
        # Written so that an infinity, which JSON can't say but 1e999 parses to, is refused too.
        if type(number) is float and -limit < number < limit:
            return number
        raise Refused(expected, value)

    return decode


def _bool(value: Any) -> bool:
    if value is True or value is False:
        return value
    raise Refused("true or false", value)


def _bool_text(text: str) -> bool:
    value = _BOOLS.get(text.lower())
    if value is None:
        raise Refused("true or false", text)
    return value


def _string(value: Any) -> str:
    if type(value) is str:
        return value
    raise Refused("a string", value)


def _text_bytes(value: Any) -> bytes:
    return _string(value).encode()


def _base64(value: Any) -> bytes:
    if type(value) is str and _BASE64.fullmatch(value):
        bare = value.rstrip("=").replace("-", "+").replace("_", "/")
        try:
            return b64decode(bare + "=" * (-len(bare) % 4))
        except binascii.Error:
            pass
    raise Refused("bytes in base64", value)


def _enum(field: FieldDescriptor) -> Decode:
    by_name = schema.numbers(schema.enum_type(field))
    known = frozenset(by_name.values())
    closed = schema.enum_type(field).is_closed
    expected = _expected_word(field)
    null = 0 if schema.enum_type(field).full_name == schema.NULL_VALUE else None

    def decode(value: Any) -> int:
        if type(value) is str:
            number = by_name.get(value)
            if number is not None:
                return number
        elif type(value) is int or (type(value) is float and value.is_integer()):
            # An open enum keeps numbers that it has no name for, as over gRPC.
            if value in known or (not closed and -(2**31) <= value < 2**31):
                return int(value)
        elif value is None and null is not None:
            return null
        raise Refused(expected, value)

    return decode


def _enum_text(field: FieldDescriptor) -> Decode:
    by_name = schema.numbers(schema.enum_type(field))
    known = frozenset(by_name.values())
    expected = _expected_word(field)

    def decode(text: str) -> int:
        number = by_name.get(text)
        if number is None and _INTEGER.fullmatch(text) and int(text) in known:
            number = int(text)
        if number is None:
            raise Refused(expected, text)
        return number

    return decode


def _expected_word(field: FieldDescriptor) -> str:
    words = list(schema.words(schema.enum_type(field)).values())
    listed = ", ".join(words[:8]) + (", …" if len(words) > 8 else "")
    return f"one of {listed}"


def _raw_bytes(value: Any) -> bytes:
    return _raw_text(value).encode()


def _raw_text(value: Any) -> str:
    if isinstance(value, RawText):
        return value.text
    raise Refused("JSON", value)
