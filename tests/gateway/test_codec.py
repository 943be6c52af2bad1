"""The codec on its own: what each kind of field takes and prints, and what errors say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from checklist import covers

from gateway.codec import Decoder, Encoder, Refused, Style
from gateway.codec.text import parse


def read(protos: SimpleNamespace, body: str | bytes, style: Style | None = None, **options: Any) -> Any:
    decoder = Decoder(style or Style())
    message = protos.everything.Everything()
    value = decoder.parser(message.DESCRIPTOR, **options)(body if isinstance(body, bytes) else body.encode())
    decoder.into(message.DESCRIPTOR)(message, value)
    return message


def show(message: Any, style: Style | None = None) -> Any:
    printed = Encoder(style or Style()).dumps(message)
    return orjson.loads(printed)


READ = [
    ('{"int32Value": 5}', "int32_value", 5, "a number"),
    ('{"int32_value": 5}', "int32_value", 5, "the proto's spelling"),
    ('{"int32Value": "5"}', "int32_value", 5, "a string"),
    ('{"int32Value": "-2147483648"}', "int32_value", -(2**31), "the least"),
    ('{"int32Value": 1e3}', "int32_value", 1000, "an exponent"),
    ('{"int32Value": 5.0}', "int32_value", 5, "a whole float"),
    ('{"int32Value": "1e3"}', "int32_value", 1000, "an exponent in a string"),
    ('{"int64Value": 9007199254740993}', "int64_value", 9007199254740993, "over 2^53, exactly"),
    ('{"uint64Value": "18446744073709551615"}', "uint64_value", 2**64 - 1, "the greatest"),
    ('{"doubleValue": 1}', "double_value", 1.0, "an integer for a float"),
    ('{"doubleValue": "1.5e3"}', "double_value", 1500.0, "a string"),
    ('{"doubleValue": "-Infinity"}', "double_value", float("-inf"), "infinity by name"),
    ('{"floatValue": 3.4028235e38}', "float_value", 3.4028234663852886e38, "FLT_MAX as it prints"),
    ('{"boolValue": true}', "bool_value", True, "a bool"),
    ('{"stringValue": "\\u00e9\\ud83d\\ude00"}', "string_value", "é😀", "escapes"),
    ('{"bytesValue": "-_-_"}', "bytes_value", b"\xfb\xff\xbf", "the URL alphabet"),
    ('{"bytesValue": "+/+/"}', "bytes_value", b"\xfb\xff\xbf", "the standard alphabet"),
    ('{"bytesValue": "YQ"}', "bytes_value", b"a", "no padding"),
    ('{"bytesValue": "YQ=="}', "bytes_value", b"a", "padding"),
    ('{"kind": "KIND_BAD"}', "kind", 2, "a name"),
    ('{"kind": "good"}', "kind", 1, "the declared word"),
    ('{"kind": "KIND_GOOD"}', "kind", 1, "the name of a value with a word"),
    ('{"kind": 2}', "kind", 2, "a number"),
    ('{"kind": 77}', "kind", 77, "an unknown number of an open enum"),
    ('{"kind": -1}', "kind", -1, "below zero"),
    ('{"strings": []}', "strings", [], "an empty list"),
    ('{"strings": null}', "strings", [], "null is not set"),
    ('{"int32Value": null}', "int32_value", 0, "null is not set"),
    ('{"numbers": ["1", 2, 3e0]}', "numbers", [1, 2, 3], "all ways at once"),
    ('{"@custom": "x"}', "custom_name", "x", "json_name"),
    ('{"custom_name": "x"}', "custom_name", "x", "beside the proto's"),
    ('{"stringMap": {"a": "b"}}', "string_map", {"a": "b"}, "a map"),
    ('{"boolMap": {"true": 1}}', "bool_map", {True: 1.0}, "bool keys"),
    ('{"kindMap": {"x": "good"}}', "kind_map", {"x": 1}, "enum values"),
    ('{"raw": {"a":1.10, "b" : [ 1e400 ]}}', "raw", b'{"a":1.10, "b" : [ 1e400 ]}', "raw: as written"),
    ('{"raw": null}', "raw", b"null", "raw null is a value"),
    ('{"raw": 123456789012345678901234567890}', "raw", b"123456789012345678901234567890", "raw: every digit"),
]


@covers("json-body")
@pytest.mark.parametrize(("body", "name", "value", "why"), READ)
def test_bodies_are_read(protos: SimpleNamespace, body: str, name: str, value: Any, why: str) -> None:
    found = getattr(read(protos, body), name)
    assert (dict(found) if isinstance(value, dict) else list(found) if isinstance(value, list) else found) == (value), (
        why
    )


def test_null_and_absent_members_leave_presence_alone(protos: SimpleNamespace) -> None:
    message = read(protos, '{"optionalValue": 0, "optionalText": null, "value": null, "nested": null}')
    assert message.HasField("optional_value")
    assert not message.HasField("optional_text")
    assert not message.HasField("nested")
    assert message.value.WhichOneof("kind") == "null_value", "null is a value of google.protobuf.Value"


def test_well_known_types_are_read(protos: SimpleNamespace) -> None:
    message = read(
        protos,
        """{"timestamp": "2026-01-31T13:00:00.5+01:00", "duration": "-1.5s", "mask": "a.bC,d_e",
            "struct": {"a": [1, null, {"b": true}]}, "value": "x", "list": [1, "2"],
            "any": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "2s"},
            "int64Wrapper": "7", "boolWrapper": false, "bytesWrapper": "YQ==", "nullValue": null,
            "timestamps": ["1970-01-01T00:00:00Z"], "valueMap": {"k": null}, "anyJson": [1.0, {"x":2}]}""",
    )
    assert (message.timestamp.seconds, message.timestamp.nanos) == (1769860800, 500_000_000)
    assert (message.duration.seconds, message.duration.nanos) == (-1, -500_000_000)
    assert message.mask.paths == ["a.b_c", "d_e"]
    assert message.struct["a"][2]["b"] is True
    assert message.any.type_url.endswith("Duration")
    assert message.int64_wrapper.value == 7
    assert message.HasField("bool_wrapper")
    assert message.value_map["k"].WhichOneof("kind") == "null_value"
    assert message.any_json.json == b'[1.0, {"x":2}]', "a transparent message around raw JSON"


REFUSED = [
    ("[]", "", "an object", "the root"),
    ('{"int32Value": 2147483648}', "int32Value", "a 32-bit integer", "too great"),
    ('{"int32Value": 1.5}', "int32Value", "a 32-bit integer", "a fraction"),
    ('{"int32Value": "1_000"}', "int32Value", "a 32-bit integer", "Python's underscores"),
    ('{"int32Value": " 5"}', "int32Value", "a 32-bit integer", "a space"),
    ('{"int32Value": ""}', "int32Value", "a 32-bit integer", "nothing"),
    ('{"int32Value": true}', "int32Value", "a 32-bit integer", "a bool"),
    ('{"uint32Value": -1}', "uint32Value", "an unsigned 32-bit integer", "below zero"),
    ('{"uint64Value": 18446744073709551616}', "uint64Value", "an unsigned 64-bit integer", "too great"),
    ('{"boolValue": "true"}', "boolValue", "true or false", "a string is no bool"),
    ('{"boolValue": 1}', "boolValue", "true or false", "a number is no bool"),
    ('{"stringValue": 1}', "stringValue", "a string", "a number is no string"),
    ('{"bytesValue": "a*"}', "bytesValue", "bytes in base64", "no base64"),
    ('{"bytesValue": "a"}', "bytesValue", "bytes in base64", "cut base64"),
    ('{"floatValue": 3.5e38}', "floatValue", "a 32-bit float", "over FLT_MAX"),
    ('{"doubleValue": 1e999}', "doubleValue", "a number", "over DBL_MAX"),
    ('{"doubleValue": "nan"}', "doubleValue", "a number", "NaN has one spelling"),
    ('{"kind": "nope"}', "kind", "one of KIND_UNSPECIFIED, good, KIND_BAD", "no such word"),
    ('{"kind": 1.5}', "kind", "one of", "a fraction"),
    ('{"strings": "x"}', "strings", "a list", "no list"),
    ('{"strings": ["a", 1]}', "strings[1]", "a string", "an element"),
    ('{"strings": [null]}', "strings[0]", "a string", "null in a list"),
    ('{"messages": [{"tags": [1]}]}', "messages[0].tags[0]", "a string", "deep down"),
    ('{"messages": [null]}', "messages[0]", "a value", "null for a message in a list"),
    ('{"stringMap": {"a": 1}}', 'stringMap["a"]', "a string", "a map's value"),
    ('{"messageMap": {"x": {}}}', 'messageMap["x"]', "a 32-bit integer", "a map's key"),
    ('{"boolMap": {"yes": 1}}', 'boolMap["yes"]', "true or false", "a bool key"),
    ('{"stringMap": []}', "stringMap", "an object", "no map"),
    ('{"nested": "x"}', "nested", "an object", "no message"),
    ('{"timestamp": "2026-13-01T00:00:00Z"}', "timestamp", "a time like", "no month"),
    ('{"timestamp": "2026-01-01"}', "timestamp", "a time like", "no time"),
    ('{"timestamp": "0001-01-01T00:00:00+01:00"}', "timestamp", "a time like", "before year 1"),
    ('{"duration": "1h"}', "duration", "a duration like", "hours"),
    ('{"duration": "315576000001s"}', "duration", "a duration like", "too long"),
    ('{"mask": "a..b"}', "mask", "field paths", "an empty step"),
    ('{"struct": []}', "struct", "an object", "no object"),
    ('{"any": {"@type": "type.googleapis.com/no.Such"}}', "any.@type", "a type that this server", "unknown"),
    ('{"any": {"a": 1}}', "any.@type", "a type URL", "no type"),
]


@covers("json-body")
@pytest.mark.parametrize(("body", "path", "expected", "why"), REFUSED)
def test_misfits_are_refused_with_path_and_type(
    protos: SimpleNamespace, body: str, path: str, expected: str, why: str
) -> None:
    with pytest.raises(Refused) as error:
        read(protos, body)
    assert (error.value.path, error.value.expected[: len(expected)]) == (path, expected), why


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"nope": 1}', "nope: no such field"),
        ('{"nested": {"nope": 1}}', "nested.nope: no such field"),
        ('{"textChoice": "a", "numberChoice": 1}', 'numberChoice: another member of the oneof "choice" is set too'),
        ('{"int32Value": 1, "int32_value": 2}', "int32_value: given twice, in both spellings of its name"),
        ('{"stringValue": 123}', "stringValue: expected a string, got 123"),
        ('{"stringValue": {"a": 1}}', "stringValue: expected a string, got an object"),
        ('{"doubleValue": 1e400}', "doubleValue: expected a number, got a number that is out of range"),
    ],
)
def test_errors_read_like_sentences(protos: SimpleNamespace, body: str, text: str) -> None:
    with pytest.raises(Refused) as error:
        read(protos, body)
    assert str(error.value) == text


def test_errors_cut_long_values(protos: SimpleNamespace) -> None:
    with pytest.raises(Refused) as error:
        read(protos, orjson.dumps({"int32Value": "9" * 5000}))
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    "body",
    ['{"int32Value": "5"}', '{"int32Value": 5.0}', '{"doubleValue": "1.5"}', '{"numbers": ["1"]}'],
)
def test_strict_types_take_json_literally(protos: SimpleNamespace, body: str) -> None:
    read(protos, body)
    with pytest.raises(Refused):
        read(protos, body, Style(strict_types=True))


def test_unknown_members_can_be_ignored(protos: SimpleNamespace) -> None:
    message = read(protos, '{"nope": {"a": [1]}, "int32Value": 1, "nested": {"x": 1}}', Style(ignore_unknown=True))
    assert message.int32_value == 1
    with pytest.raises(Refused):
        read(protos, '{"kind": "nope"}', Style(ignore_unknown=True))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "nothing"),
        (b"{", "cut"),
        (b'{"a": 1,}', "a trailing comma"),
        (b"{'a': 1}", "single quotes"),
        (b"NaN", "no JSON"),
        (b'{"a": "\xff"}', "no UTF-8"),
        (b'{"a": "\\ud800"}', "half a surrogate pair"),
        (b"{} x", "text after the value"),
        (b"\xef\xbb\xbf{}", "a byte order mark"),
        (b'{"a":1,"a":2}', "a name twice"),
        (b'{"b":{"a" :1,"a":2}}', "deep down, with a space"),
        (b'{"a" :":","a" :1}', "colons that make up for the space"),
        (b'[{"a":1,"\\u0061":2}]', "one of them escaped"),
        (b'{"a":"\\":","a":1}', "behind an escaped quote"),
        (b"[" * 101 + b"]" * 101, "too deep"),
        (b"[" * 100_000, "much too deep"),
    ],
)
def test_text_that_is_not_one_json_value_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(Refused) as error:
        parse(body)
    assert error.value.bare, why


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":":","b":"\\":"}',
        b'{"a" : 1, "b": {"a": 1}}',
        b'[{"a":1},{"a":1}]',
        b'{"a":"x\\\\","b":1}',
        b"[" * 99 + b"]" * 99,
    ],
)
def test_names_are_only_counted_once_per_object(body: bytes) -> None:
    assert parse(body) == orjson.loads(body)


@pytest.mark.parametrize(
    ("body", "value"),
    [(b"{} trailing", {}), (b' {"a": 1}{"a": 2}', {"a": 1}), (b"[1]\xff\xfe", [1]), (b'"x"]', "x"), (b"1 2", 1)],
)
def test_text_after_the_value_can_be_ignored(body: bytes, value: Any) -> None:
    assert parse(body, ignore_trailing_text=True) == value


@pytest.mark.parametrize("body", [b"", b"x", b"{x} {}", b'{"a": "\xff"} x', b'{"a":1,"a":2} x'])
def test_the_first_value_must_still_be_one(body: bytes) -> None:
    with pytest.raises(Refused):
        parse(body, ignore_trailing_text=True)


def test_printing_follows_protojson(protos: SimpleNamespace) -> None:
    message = protos.everything.Everything(
        double_value=float("nan"),
        float_value=0.1,
        int64_value=-(2**63),
        uint64_value=2**64 - 1,
        bytes_value=b"\xff",
        kind=1,
        kinds=[2, 77],
        optional_value=0,
        floats=[3.4028234663852886e38, float("-inf"), 1.4013e-45],
        string_map={"b": "2", "a": "1"},
        bool_map={True: 1, False: 0},
        raw=b'{"a":1.10}',
        custom_name="c",
    )
    message.message_map[10].string_value = "ten"
    message.message_map[9].int32_value = 9
    message.duration.FromNanoseconds(-1_500_000)
    message.timestamp.FromNanoseconds(1_500_000)
    message.mask.paths.append("a_b.c_d")
    message.nested.SetInParent()
    printed = Encoder(Style()).dumps(message)
    shown = orjson.loads(printed)
    assert (shown["doubleValue"], shown["floatValue"], shown["int64Value"]) == ("NaN", 0.1, "-9223372036854775808")
    assert (shown["uint64Value"], shown["bytesValue"]) == ("18446744073709551615", "/w==")
    assert (shown["kind"], shown["kinds"]) == ("good", ["KIND_BAD", 77])
    assert shown["floats"] == [3.4028235e38, "-Infinity", 1.4013e-45]
    assert list(shown["stringMap"]) == ["a", "b"], "sorted, for equal bytes everywhere"
    assert list(shown["messageMap"]) == ["9", "10"], "as numbers"
    assert shown["boolMap"] == {"false": 0.0, "true": 1.0}
    assert (shown["duration"], shown["timestamp"]) == ("-0.001500s", "1970-01-01T00:00:00.001500Z")
    assert shown["mask"] == "aB.cD"
    assert shown["optionalValue"] == 0
    assert shown["nested"] == {"stringValue": "", "int32Value": 0, "tags": []}
    assert (shown["int32Value"], shown["strings"], shown["@custom"]) == (0, [], "c")
    assert not shown.keys() & {"optionalText", "textChoice", "value", "self", "int64Wrapper"}
    assert b'"raw":{"a":1.10}' in printed


def test_styles_change_names_numbers_and_times(protos: SimpleNamespace) -> None:
    message = protos.everything.Everything(int64_value=2**60, int32_value=1)
    message.timestamp.seconds = 1
    style = Style(proto_names=True, integer_numbers=True, timestamp_digits=6, empty=1)
    assert show(message, style) == {
        "int32_value": 1,
        "int64_value": 2**60,
        "timestamp": "1970-01-01T00:00:01.000000Z",
    }


@covers("json-out")
@pytest.mark.parametrize(
    ("empty", "members"),
    [
        (0, {"stringValue": "", "int32Value": 0, "tags": []}),
        (1, {}),
        (2, {"stringValue": None, "int32Value": None, "inner": None, "tags": None}),
        (3, {"stringValue": "", "int32Value": 0, "inner": None, "tags": []}),
    ],
)
def test_empty_rules(protos: SimpleNamespace, empty: int, members: dict[str, Any]) -> None:
    assert show(protos.everything.Nested(), Style(empty=empty)) == members


def test_a_type_unknown_inside_an_any_prints_as_base64(protos: SimpleNamespace) -> None:
    message = protos.everything.Everything()
    message.any.type_url, message.any.value = "type.googleapis.com/no.Such", b"\x01"
    assert show(message)["any"] == {"@type": "type.googleapis.com/no.Such", "value": "AQ=="}
