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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_messages import FINITE, everything_messages

from gateway.codec import Decoder, Encoder, Refused, Style

_COMPARED = [
    *("doubleValue", "floatValue", "int32Value", "uint64Value", "boolValue", "stringValue", "bytesValue", "kind"),
    *("nested", "strings", "numbers", "messages", "stringMap", "messageMap", "boolMap", "timestamp", "duration"),
    *("mask", "struct", "value", "list", "int64Wrapper"),
]
_SETTINGS = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def _bytes(message: Any) -> bytes:
    return message.SerializeToString(deterministic=True)  # type: ignore[no-any-return]


@_SETTINGS
@given(everything_messages())
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
@given(everything_messages())
def test_each_reads_what_the_other_prints(message: Any) -> None:
    message_type = type(message)
    ours = message_type()
    decoder = Decoder(Style())
    text = json_format.MessageToJson(message).encode()
    decoder.into(message.DESCRIPTOR)(ours, decoder.parser(message.DESCRIPTOR)(text))
    assert _bytes(ours) == _bytes(message)
    # By the names of the proto file, which take the general way instead of the generated one.
    general, spelled = message_type(), json_format.MessageToJson(message, preserving_proto_field_name=True).encode()
    decoder.into(message.DESCRIPTOR)(general, decoder.parser(message.DESCRIPTOR)(spelled))
    assert _bytes(general) == _bytes(message)
    compact = Encoder(Style(empty=1)).dumps(message)
    assert _bytes(json_format.Parse(compact, message_type())) == _bytes(message)
    again = message_type()
    decoder.into(message.DESCRIPTOR)(again, decoder.parser(message.DESCRIPTOR)(compact))
    assert _bytes(again) == _bytes(message)


@_SETTINGS
@given(
    st.sampled_from(_COMPARED),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**33), 2**33)
        | FINITE
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
        decoder.into(ours.DESCRIPTOR)(ours, decoder.parser(ours.DESCRIPTOR)(text))
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
    decoder.into(again.DESCRIPTOR)(again, decoder.parser(again.DESCRIPTOR)(text))
    assert again == maximum
