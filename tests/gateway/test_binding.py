"""Path, query and body into messages, as a client sees it: an echoing service shows what was bound."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from checklist import covers


async def echo(client: httpx.AsyncClient, method: str, url: str, **request: Any) -> dict[str, Any]:
    reply = await client.request(method, url, **request)
    assert reply.status_code == 200, reply.text
    return reply.json()  # type: ignore[no-any-return]


def reason_of(reply: httpx.Response) -> tuple[int, str, str]:
    """(status, reason, field) of a google.rpc.Status error."""
    info = reply.json()["details"][0]
    return reply.status_code, info["reason"], info["metadata"].get("field", "")


@covers("percent-decoding", "additional-bindings")
@pytest.mark.parametrize(
    ("path", "member", "value", "why"),
    [
        ("/e/string/a%2Fb", "stringValue", "a/b", "a slash inside a segment"),
        ("/e/string/a%2520b", "stringValue", "a%20b", "decoded once"),
        ("/e/string/a+b", "stringValue", "a+b", "a plus is a plus"),
        ("/e/int32/-5", "int32Value", -5, "an integer"),
        ("/e/uint64/18446744073709551615", "uint64Value", "18446744073709551615", "the greatest"),
        ("/e/double/1.5e3", "doubleValue", 1500.0, "a float"),
        ("/e/double/Infinity", "doubleValue", "Infinity", "infinity"),
        ("/e/bool/TRUE", "boolValue", True, "any case"),
        ("/e/bool/0", "boolValue", False, "0 and 1"),
        ("/e/bytes/-_-_", "bytesValue", "+/+/", "URL alphabet in, standard out"),
        ("/e/enum/good", "kind", "good", "the declared word"),
        ("/e/enum/KIND_BAD", "kind", "KIND_BAD", "a name"),
        ("/e/enum/2", "kind", "KIND_BAD", "a known number"),
        ("/e/time/2026-01-01T00:00:00Z", "timestamp", "2026-01-01T00:00:00Z", "a timestamp"),
        ("/e/duration/1.5s", "duration", "1.500s", "a duration"),
        ("/e/wrapper/7", "int64Wrapper", "7", "a wrapper"),
        ("/e/rest/a/b%2Fc", "stringValue", "a/b%2Fc", "several segments keep %2F"),
        ("/e/tail/a/b/end", "stringValue", "a/b", "a literal tail"),
        ("/e/two/a/1/b/2/3", "stringValue", "a/1/b/2", "two variables"),
        ("/e/verb/x", "stringValue", "x", "no verb"),
    ],
)
async def test_path_variables(client: httpx.AsyncClient, path: str, member: str, value: Any, why: str) -> None:
    assert (await echo(client, "GET", path))[member] == value, why


async def test_nested_path_variables_and_verbs(client: httpx.AsyncClient) -> None:
    assert (await echo(client, "GET", "/e/nested/x"))["nested"]["stringValue"] == "x"
    assert await echo(client, "GET", "/e/verb/x:cancel") == {
        "stringValue": "verb x",
        "int32Value": 0,
        "tags": [],
    }, "response_body is a nested field"


@pytest.mark.parametrize(
    ("path", "reason", "field", "why"),
    [
        ("/e/int32/x", "FIELD_INVALID", "int32_value", "no integer"),
        ("/e/int32/1e3", "FIELD_INVALID", "int32_value", "floats are for bodies"),
        ("/e/int32/5.0", "FIELD_INVALID", "int32_value", "floats are for bodies"),
        ("/e/enum/77", "FIELD_INVALID", "kind", "an unknown number"),
        ("/e/bool/yes", "FIELD_INVALID", "bool_value", "no bool"),
        ("/e/time/now", "FIELD_INVALID", "timestamp", "no time"),
        ("/e/string/%zz", "PATH_INVALID", "", "no escape"),
        ("/e/string/%ff", "PATH_INVALID", "", "no UTF-8"),
    ],
)
async def test_bad_path_variables(client: httpx.AsyncClient, path: str, reason: str, field: str, why: str) -> None:
    assert reason_of(await client.get(path)) == (400, reason, field), why


@covers("query")
@pytest.mark.parametrize(
    ("query", "member", "value", "why"),
    [
        ("stringValue=a+b%20c", "stringValue", "a b c", "plus and %20 are spaces"),
        ("string_value=a%2Bb", "stringValue", "a+b", "an escaped plus is one"),
        ("strings=a&strings=b", "strings", ["a", "b"], "a list"),
        ("strings=", "strings", [""], "an empty element"),
        ("strings=a,b", "strings", ["a,b"], "no CSV unless declared"),
        ("numbers=1&numbers=2", "numbers", ["1", "2"], "numbers"),
        ("kinds=good&kinds=2", "kinds", ["good", "KIND_BAD"], "enums"),
        (
            "nested.inner.stringValue=x",
            "nested",
            {
                "stringValue": "",
                "int32Value": 0,
                "inner": {"stringValue": "x", "int32Value": 0, "tags": []},
                "tags": [],
            },
            "dotted",
        ),
        ("stringMap[a.b]=1&stringMap[c]=2", "stringMap", {"a.b": "1", "c": "2"}, "subscripts"),
        ("stringMap.a.b=1", "stringMap", {"a.b": "1"}, "dots into a map"),
        ("kindMap[x]=good", "kindMap", {"x": "good"}, "a map of enums"),
        ("boolMap[true]=1.5", "boolMap", {"true": 1.5}, "bool keys"),
        ("boolValue", "boolValue", True, "a bare flag"),
        ("boolWrapper", "boolWrapper", True, "a bare flag that is wrapped"),
        ("boolValue=1", "boolValue", True, "1"),
        ("optionalValue=0", "optionalValue", 0, "present and zero"),
        ("timestamp=2026-01-01T01:00:00%2B01:00", "timestamp", "2026-01-01T00:00:00Z", "an offset"),
        ("mask=a.bC,d", "mask", "a.bC,d", "a field mask"),
        ("int64Wrapper=-1", "int64Wrapper", "-1", "a wrapper"),
        ("struct=%7B%22a%22:1%7D", "struct", {"a": 1.0}, "a Struct as JSON"),
        ("value=[1]", "value", [1.0], "a Value as JSON"),
        ("raw=%7B%22a%22:1.10%7D", "raw", {"a": 1.1}, "raw JSON"),
        ("bytesValue=YQ", "bytesValue", "YQ==", "base64 without padding"),
        ("@custom=x", "@custom", "x", "json_name"),
        ("numberChoice=4", "numberChoice", 4, "a member of a oneof"),
        ("&&stringValue=x&", "stringValue", "x", "empty pieces"),
        ("stringValue=%C3%A9", "stringValue", "é", "UTF-8"),
        ("stringValue=a=b", "stringValue", "a=b", "an equals sign in the value"),
        ("timestamps=1970-01-01T00:00:00Z", "timestamps", ["1970-01-01T00:00:00Z"], "a list of timestamps"),
    ],
)
async def test_query_parameters(client: httpx.AsyncClient, query: str, member: str, value: Any, why: str) -> None:
    assert (await echo(client, "GET", f"/e/query?{query}"))[member] == value, why


@covers("query-errors")
@pytest.mark.parametrize(
    ("query", "reason", "field", "why"),
    [
        ("nope=1", "PARAMETER_UNKNOWN", "nope", "no such field"),
        ("nested.nope=1", "PARAMETER_UNKNOWN", "nested.nope", "no such field below"),
        ("stringValue.x=1", "PARAMETER_UNKNOWN", "stringValue.x", "a scalar has no fields"),
        ("strings[a]=1", "PARAMETER_UNKNOWN", "strings[a]", "a list has no keys"),
        ("int32Value=1&int32Value=1", "FIELD_CONFLICT", "int32Value", "a singular twice"),
        ("int32Value=1&int32_value=1", "FIELD_CONFLICT", "int32Value", "in two spellings"),
        ("stringMap[a]=1&stringMap[a]=2", "FIELD_CONFLICT", "stringMap[a]", "one key twice"),
        ("textChoice=a&numberChoice=1", "FIELD_CONFLICT", "numberChoice", "two of a oneof"),
        ("messageChoice.int32Value=1&textChoice=a", "FIELD_CONFLICT", "textChoice", "one of them below"),
        ("messages=x", "FIELD_CONFLICT", "messages", "a list of messages"),
        ("messages.stringValue=x", "FIELD_CONFLICT", "messages.stringValue", "below a list of messages"),
        ("nested=x", "FIELD_CONFLICT", "nested", "a message"),
        ("stringMap=x", "FIELD_CONFLICT", "stringMap", "a map without key"),
        ("int32Value=", "FIELD_INVALID", "int32Value", "an empty number"),
        ("int32Value=1e3", "FIELD_INVALID", "int32Value", "floats are for bodies"),
        ("uint32Value=-1", "FIELD_INVALID", "uint32Value", "below zero"),
        ("kind=77", "FIELD_INVALID", "kind", "an unknown number"),
        ("kind=nope", "FIELD_INVALID", "kind", "an unknown name"),
        ("boolValue=yes", "FIELD_INVALID", "boolValue", "no bool"),
        ("stringValue=%zz", "QUERY_INVALID", "stringValue", "no escape"),
        ("stringValue=%ff", "QUERY_INVALID", "stringValue", "no UTF-8"),
        ("%zz=1", "QUERY_INVALID", "", "no escape in a name"),
        ("duration=1h", "FIELD_INVALID", "duration", "hours"),
        ("bytesValue=*", "FIELD_INVALID", "bytesValue", "no base64"),
        ("value=abc", "FIELD_INVALID", "value", "no JSON"),
        (f"nested.{'inner.' * 150}int32Value=1", "QUERY_INVALID", "", "more levels than protobuf reads"),
        (f"struct={'{%22a%22:' * 40}1{'}' * 40}", "QUERY_INVALID", "", "each level of a Struct is three of them"),
    ],
)
async def test_bad_query_parameters(client: httpx.AsyncClient, query: str, reason: str, field: str, why: str) -> None:
    assert reason_of(await client.get(f"/e/query?{query}")) == (400, reason, field), why


DEEP = '{"a":' * 40 + "1" + "}" * 40
"""As a Struct it is 120 messages, one in the other."""


@covers("body")
@pytest.mark.parametrize(
    ("path", "body", "member", "value", "why"),
    [
        (
            "/e/body/nested",
            '{"stringValue":"x"}',
            "nested",
            {"stringValue": "x", "int32Value": 0, "tags": []},
            "a message",
        ),
        (
            "/e/body/deep",
            '{"int32Value":1}',
            "nested",
            {"stringValue": "", "int32Value": 0, "inner": {"stringValue": "", "int32Value": 1, "tags": []}, "tags": []},
            "a nested field",
        ),
        ("/e/body/list", '["a","b"]', "strings", ["a", "b"], "a list"),
        (
            "/e/body/messages",
            '[{"int32Value":1}]',
            "messages",
            [{"stringValue": "", "int32Value": 1, "tags": []}],
            "messages",
        ),
        ("/e/body/scalar", "5", "int32Value", 5, "a scalar"),
        ("/e/body/wrapper", '"7"', "int64Wrapper", "7", "a wrapper"),
        ("/e/body/map", '{"a":"b"}', "stringMap", {"a": "b"}, "a map"),
        ("/e/body/raw", " [1.10 ] ", "raw", [1.1], "raw JSON"),
        ("/e/body/nested?int32Value=3", "{}", "int32Value", 3, "the query beside a body's field"),
    ],
)
async def test_bodies_bound_to_fields(
    client: httpx.AsyncClient, path: str, body: str, member: str, value: Any, why: str
) -> None:
    assert (await echo(client, "PUT", path, content=body))[member] == value, why


@covers("body", "one-field-twice", "json-body")
@pytest.mark.parametrize(
    ("method", "path", "body", "reason", "field", "why"),
    [
        ("PUT", "/e/body/nested", "[]", "FIELD_INVALID", "nested", "a shape mismatch"),
        ("PUT", "/e/body/list", "{}", "FIELD_INVALID", "strings", "a shape mismatch"),
        ("PUT", "/e/body/list", '["a", 1]', "FIELD_INVALID", "strings[1]", "the place in the list"),
        ("PUT", "/e/body/nested", '{"x":1}', "FIELD_UNKNOWN", "nested.x", "no such field"),
        ("POST", "/e/body", "{", "BODY_MALFORMED", "", "no JSON"),
        ("POST", "/e/body", "{} {}", "BODY_MALFORMED", "", "two values"),
        ("POST", "/e/body", '{"int32Value":1,"int32Value":1}', "BODY_MALFORMED", "", "a name twice"),
        ("POST", "/e/body", f'{{"struct":{DEEP}}}', "BODY_MALFORMED", "", "more levels than protobuf reads"),
        (
            "PUT",
            "/e/body/deep",
            '{"inner":' * 99 + "{}" + "}" * 99,
            "BODY_MALFORMED",
            "",
            "two levels below the request",
        ),
        ("POST", "/e/body?int32Value=1", "{}", "PARAMETER_UNKNOWN", "int32Value", "the body is everything"),
        ("PUT", "/e/body/nested?nested.int32Value=1", "{}", "FIELD_CONFLICT", "nested.int32Value", "the body's field"),
        ("POST", "/e/body/x", '{"stringValue":"y"}', "FIELD_CONFLICT", "string_value", "the path says otherwise"),
        ("GET", "/e/query", "{}", "BODY_UNEXPECTED", "", "no body is bound"),
    ],
)
async def test_bad_bodies(
    client: httpx.AsyncClient, method: str, path: str, body: str, reason: str, field: str, why: str
) -> None:
    assert reason_of(await client.request(method, path, content=body)) == (400, reason, field), why


async def test_what_protobuf_can_carry_is_taken(client: httpx.AsyncClient) -> None:
    struct = {"a": json.loads('{"a":' * 30 + "1.0" + "}" * 30)}
    assert (await echo(client, "POST", "/e/body", json={"struct": struct}))["struct"] == struct
    wide = [{"int32Value": number} for number in range(100)]
    assert len((await echo(client, "POST", "/e/body", json={"messages": wide}))["messages"]) == 100


async def test_path_and_body_may_agree(client: httpx.AsyncClient) -> None:
    assert (await echo(client, "POST", "/e/body/x", json={"stringValue": "x"}))["stringValue"] == "x"
    assert (await echo(client, "POST", "/e/body/x", json={"int32Value": 1}))["stringValue"] == "x"


async def test_path_and_query_must_agree(client: httpx.AsyncClient) -> None:
    assert (await echo(client, "GET", "/e/string/x?stringValue=x"))["stringValue"] == "x"
    assert reason_of(await client.get("/e/string/x?stringValue=y")) == (400, "FIELD_CONFLICT", "stringValue")


async def test_an_empty_body_is_an_empty_object(client: httpx.AsyncClient) -> None:
    assert "nested" not in await echo(client, "POST", "/e/body")
    assert (await echo(client, "PUT", "/e/body/nested"))["nested"] is not None


@covers("content-type")
@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("application/merge-patch+json", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
    ],
)
async def test_media_types(client: httpx.AsyncClient, content_type: str, status: int) -> None:
    reply = await client.post("/e/body", content="{}", headers={"content-type": content_type})
    assert reply.status_code == status
    if status == 415:
        assert reason_of(reply)[1] == "MEDIA_TYPE_UNSUPPORTED"


async def test_custom_methods(client: httpx.AsyncClient) -> None:
    assert await echo(client, "PURGE", "/e/body")


async def test_patch_fills_the_mask_from_the_body(client: httpx.AsyncClient) -> None:
    body = {"title": "T", "author": {"fullName": "A", "born": None}, "labels": {"a": "b"}}
    assert (await echo(client, "PATCH", "/v1/books/b", json=body))["updateMask"] == (
        "title,author.fullName,author.born,labels"
    )
    given = await echo(client, "PATCH", "/v1/books/b?updateMask=pageCount", json=body)
    assert given["updateMask"] == "pageCount"


async def test_a_list_as_response_body_prints_when_empty(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/titles")).json() == []
    assert (await client.get("/v1/titles?subjects=a")).json() == ["a"]


async def test_raw_bodies_both_ways(client: httpx.AsyncClient) -> None:
    stored = await client.put("/v1/books/b/cover", content=b"\x00\xff", headers={"content-type": "image/x"})
    assert stored.json() == {"name": "b", "contentType": "image/x", "size": "2"}
    cover = await client.get("/v1/books/b/cover")
    assert (cover.headers["content-type"], cover.content) == ("image/png", b"\x89PNG\x00")
