"""The codec against ``google.protobuf.json_format`` over generated messages, both ways.

Left out because the two differ on purpose: enum words (``KIND_GOOD`` prints as ``good`` here), raw JSON, and what the
codec's docstring lists.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.codec import Decoder, Encoder, Refused, Style

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_FINITE = st.floats(allow_nan=False, allow_infinity=False)
_FLT_MAX = 3.4028234663852886e38  # refused by the oracle, see the last test


def _positive_zero(value: float) -> float:
    """-0.0 is empty by the rule OMIT, as any zero."""
    return value + 0.0


_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    F.TYPE_DOUBLE: st.floats().map(_positive_zero),
    F.TYPE_FLOAT: st.floats(width=32).map(_positive_zero).filter(lambda each: abs(each) != _FLT_MAX),
    F.TYPE_BOOL: st.booleans(),
    F.TYPE_STRING: _TEXT,
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
    leaves = st.none() | st.booleans() | _FINITE | _TEXT
    inner = st.recursive(leaves, lambda each: st.lists(each, max_size=2) | st.dictionaries(_TEXT, each, max_size=2))
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
def _everything(draw: st.DrawFn) -> Any:
    import everything_pb2

    message = everything_pb2.Everything()
    _fill(draw, message, 3)
    return message


_COMPARED = [
    *("doubleValue", "floatValue", "int32Value", "uint64Value", "boolValue", "stringValue", "bytesValue", "kind"),
    *("nested", "strings", "numbers", "messages", "stringMap", "messageMap", "boolMap", "timestamp", "duration"),
    *("mask", "struct", "value", "list", "int64Wrapper"),
]
_SETTINGS = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def _bytes(message: Any) -> bytes:
    return message.SerializeToString(deterministic=True)  # type: ignore[no-any-return]


@_SETTINGS
@given(_everything())
def test_both_print_the_same(message: Any) -> None:
    for names in (False, True):
        if names:
            # A service that spells names as the proto file does gets its masks in that spelling too.
            message.ClearField("self")
            message.ClearField("mask")
        ours = orjson.loads(Encoder(Style(proto_names=names)).dumps(message))
        theirs = json_format.MessageToDict(
            message, always_print_fields_with_no_presence=True, preserving_proto_field_name=names
        )
        _drop_uncompared(theirs)
        _drop_uncompared(ours)
        assert ours == theirs


def _drop_uncompared(printed: Any) -> None:
    """Empty raw JSON prints as null here and as "" there, at every level."""
    if isinstance(printed, dict):
        if printed.get("raw") in (None, ""):
            printed.pop("raw", None)
        for value in printed.values():
            _drop_uncompared(value)
    elif isinstance(printed, list):
        for value in printed:
            _drop_uncompared(value)


@_SETTINGS
@given(_everything())
def test_each_reads_what_the_other_prints(message: Any) -> None:
    message_type = type(message)
    ours = message_type()
    decoder = Decoder(Style())
    text = json_format.MessageToJson(message).encode()
    decoder.into(message.DESCRIPTOR)(ours, decoder.parse(text, message.DESCRIPTOR))
    assert _bytes(ours) == _bytes(message)
    # By the names of the proto file, which take the general way instead of the generated one.
    general, spelled = message_type(), json_format.MessageToJson(message, preserving_proto_field_name=True).encode()
    decoder.into(message.DESCRIPTOR)(general, decoder.parse(spelled, message.DESCRIPTOR))
    assert _bytes(general) == _bytes(message)
    compact = Encoder(Style(empty=1)).dumps(message)
    assert _bytes(json_format.Parse(compact, message_type())) == _bytes(message)
    again = message_type()
    decoder.into(message.DESCRIPTOR)(again, decoder.parse(compact, message.DESCRIPTOR))
    assert _bytes(again) == _bytes(message)


@_SETTINGS
@given(
    st.sampled_from(_COMPARED),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**33), 2**33)
        | _FINITE
        | st.sampled_from(
            ["", "1", "1.5", "1e3", "true", "NaN", "KIND_BAD", "YQ==", "1s", "2026-01-01T00:00:00Z", "a,b"]
        ),
        lambda each: (
            st.lists(each, max_size=2) | st.dictionaries(st.sampled_from(["1", "true", "a"]), each, max_size=2)
        ),
        max_leaves=4,
    ),
)
def test_both_take_and_refuse_the_same_values(name: str, value: Any) -> None:
    import everything_pb2

    text = orjson.dumps({name: value})
    decoder = Decoder(Style())
    ours, theirs = everything_pb2.Everything(), everything_pb2.Everything()
    try:
        decoder.into(ours.DESCRIPTOR)(ours, decoder.parse(text, ours.DESCRIPTOR))
        refused = False
    except Refused:
        refused = True
    try:
        json_format.Parse(text, theirs)
        their_refusal = False
    except json_format.ParseError:
        their_refusal = True
    if refused != their_refusal:
        assert _is_deliberate(name, value), (name, value, refused)
    elif not refused:
        assert _bytes(ours) == _bytes(theirs)


def _is_deliberate(name: str, value: Any) -> bool:
    """Where this codec refuses what the oracle takes (never the other way round)."""
    values = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else [value]
    match name:
        case "bytesValue":
            return isinstance(value, str)  # text that is no base64
        case "kind":
            return isinstance(value, str | bool | float)  # "1", true and 1.5 are no enum values
        case "mask":
            return isinstance(value, str)
        case "floatValue" | "doubleValue" | "boolMap":
            return any(isinstance(each, bool | str) for each in values)  # true is no number
        case "nested" | "messages" | "messageMap":
            return any(each in ([], "") for each in [value, *values])  # a list, or a text, is no message
        case _:
            return False


def test_the_oracle_differs_where_documented(protos: SimpleNamespace) -> None:
    maximum = protos.everything.Everything(float_value=3.4028234663852886e38)
    text = Encoder(Style(empty=1)).dumps(maximum)
    with pytest.raises(json_format.ParseError):
        json_format.Parse(text, protos.everything.Everything())
    decoder, again = Decoder(Style()), protos.everything.Everything()
    decoder.into(again.DESCRIPTOR)(again, decoder.parse(text, again.DESCRIPTOR))
    assert again == maximum
