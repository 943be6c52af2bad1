"""Random messages of the bit of everything, for what is compared with another implementation.

Left out is what only our options say: raw JSON, and the one enum value that has a word of its own.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor as F
from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
_FLT_MAX = 3.4028234663852886e38  # refused by the oracle, see the last test


def _positive_zero(value: float) -> float:
    """-0.0 is empty by the rule OMIT, as any zero."""
    return value + 0.0


_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    F.TYPE_DOUBLE: st.floats().map(_positive_zero),
    F.TYPE_FLOAT: st.floats(width=32).map(_positive_zero).filter(lambda each: abs(each) != _FLT_MAX),
    F.TYPE_BOOL: st.booleans(),
    F.TYPE_STRING: TEXT,
    F.TYPE_BYTES: st.binary(max_size=8),
    F.TYPE_ENUM: st.sampled_from([0, 2, -1, 77]),
}
for _bits, _kinds in (
    (32, (F.TYPE_INT32, F.TYPE_SINT32, F.TYPE_SFIXED32)),
    (64, (F.TYPE_INT64, F.TYPE_SINT64, F.TYPE_SFIXED64)),
):
    for _kind in _kinds:
        _SCALARS[_kind] = st.integers(-(2 ** (_bits - 1)), 2 ** (_bits - 1) - 1)
for _bits, _kinds in ((32, (F.TYPE_UINT32, F.TYPE_FIXED32)), (64, (F.TYPE_UINT64, F.TYPE_FIXED64))):
    for _kind in _kinds:
        _SCALARS[_kind] = st.integers(0, 2**_bits - 1)

_NOT_COMPARED = {"raw", "any_json"}


@st.composite
def _json_value(draw: st.DrawFn) -> Any:
    leaves = st.none() | st.booleans() | FINITE | TEXT
    inner = st.recursive(leaves, lambda each: st.lists(each, max_size=2) | st.dictionaries(TEXT, each, max_size=2))
    return draw(inner)


def _fill(draw: st.DrawFn, message: Any, depth: int) -> None:
    fields = [field for field in message.DESCRIPTOR.fields if field.name not in _NOT_COMPARED]
    for field in draw(st.lists(st.sampled_from(fields), max_size=6, unique_by=lambda each: each.name)):
        entry = field.message_type if field.type == F.TYPE_MESSAGE else None
        if entry is not None and entry.GetOptions().map_entry:
            _fill_map(draw, getattr(message, field.name), entry, depth)
        elif entry is not None and field.is_repeated:
            for _ in range(draw(st.integers(0, 2))):
                _fill_message(draw, getattr(message, field.name).add(), depth - 1)
        elif entry is not None:
            inner = getattr(message, field.name)
            inner.SetInParent()
            _fill_message(draw, inner, depth - 1)
        elif field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(_scalar(field), max_size=3)))
        else:
            setattr(message, field.name, draw(_scalar(field)))


def _scalar(field: Any) -> st.SearchStrategy[Any]:
    if field.type == F.TYPE_ENUM and field.enum_type.full_name == "google.protobuf.NullValue":
        return st.just(0)
    return _SCALARS[field.type]


def _fill_map(draw: st.DrawFn, entries: Any, entry: Any, depth: int) -> None:
    value_field = entry.fields_by_name["value"]
    for key in draw(st.lists(_scalar(entry.fields_by_name["key"]), max_size=2)):
        if value_field.type == F.TYPE_MESSAGE:
            _fill_message(draw, entries[key], depth - 1)
        else:
            entries[key] = draw(_scalar(value_field))


def _fill_message(draw: st.DrawFn, message: Any, depth: int) -> None:
    match message.DESCRIPTOR.full_name:
        case "google.protobuf.Timestamp":
            message.seconds = draw(st.integers(-62135596800, 253402300799))
            message.nanos = draw(st.integers(0, 999_999_999))
        case "google.protobuf.Duration":
            sign = draw(st.sampled_from([1, -1]))
            message.seconds = sign * draw(st.integers(0, 315576000000 - 1))
            message.nanos = sign * draw(st.integers(0, 999_999_999))
        case "google.protobuf.FieldMask":
            message.paths.extend(
                draw(st.lists(st.from_regex(r"[a-z]{1,3}(_[a-z]{1,3})?(\.[a-z]{1,3})?", fullmatch=True), max_size=3))
            )
        case "google.protobuf.Value" | "google.protobuf.Struct" | "google.protobuf.ListValue":
            value = draw(_json_value())
            if message.DESCRIPTOR.name == "Struct":
                value = {"key": value}
            elif message.DESCRIPTOR.name == "ListValue":
                value = [value]
            json_format.ParseDict(value, message)
        case "google.protobuf.Any":
            from google.protobuf import duration_pb2, wrappers_pb2

            message.Pack(draw(st.sampled_from([duration_pb2.Duration(seconds=1), wrappers_pb2.Int64Value(value=5)])))
        case _ if depth > 0:
            _fill(draw, message, depth)


@st.composite
def everything_messages(draw: st.DrawFn) -> Any:
    import everything_pb2

    message = everything_pb2.Everything()
    _fill(draw, message, 3)
    return message
