"""Every option, as one request shows it: what is asked, what comes back, and which option makes it so."""

# ruff: noqa: E501  a row a line
from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import choices_pb2_grpc
import habits_pb2_grpc
import httpx
import pytest
from checklist import covers
from choice_servicer import Choices
from gateway_servicers import Library, register
from habit_servicer import Habits
from harness import in_memory, made

from gateway import Admission, Gateway, GatewayOptions, HandlerCapture
from runner.gateway.v1 import options_pb2


@dataclass(frozen=True, kw_only=True)
class Row:
    """One request and what tells that the option holds."""

    option: str
    ask: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    status: int = 200
    text: str | None = None
    """The whole body."""
    has: str = ""
    lacks: str = "\1"
    told: dict[str, str] = field(default_factory=dict)
    """Headers of the reply."""
    origins: tuple[str, ...] = ()
    """Those of the gateway's settings."""
    why: str


COMMANDS, TEXT, JSON = "/api/v9/commands", {"content-type": "text/plain"}, {"content-type": "application/json"}
FORM = {"content-type": "multipart/form-data; boundary=x"}
PREFLIGHT = {"origin": "https://a.example", "access-control-request-method": "GET"}


def part(name: str, content: str, filename: str = "") -> bytes:
    file = f'; filename="{filename}"' if filename else ""
    return f'--x\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n{content}\r\n--x--\r\n'.encode()


# fmt: off
ROWS = [
    Row(option="ServiceRules.error_envelope", ask=f"GET {COMMANDS}/zz", status=404, text='{"error":"Job not found","message":"Job with ID zz not found"}', why="the shape that the service declares"),
    Row(option="ServiceRules.owns_prefix", ask="GET /c/nothing", status=404, text='{"title":"Not Found","reason":"ROUTE_NOT_FOUND"}', why="an unknown path is its owner's"),
    Row(option="ServiceRules.errors", ask=f"POST {COMMANDS}", body=b"{", status=400, has='"error":"Invalid request format"', why="a rule for all RPCs of the service"),
    Row(option="ServiceRules.unknown_fields", ask=f"POST {COMMANDS}", body=b'{"command":"x","new":1}', has='"command":"x"', why="a member that nobody knows is passed over"),
    Row(option="ServiceRules.unknown_query", ask=f"GET {COMMANDS}?nope=1", why="a parameter that nobody knows is passed over"),
    Row(option="ServiceRules.json_names", ask=f"GET {COMMANDS}/j1", has='"job_id"', lacks="jobId", why="as the proto has them"),
    Row(option="ServiceRules.empty", ask=f"GET {COMMANDS}/j1", lacks='"command"', why="what is empty is left out"),
    Row(option="ServiceRules.any_content_type", ask=f"POST {COMMANDS}", headers=TEXT, body=b'{"command":"x"}', why="JSON whatever it is called"),
    Row(option="ServiceRules.ignore_trailing_text", ask=f"POST {COMMANDS}", body=b'{"command":"x"} rest', why="only the first value is read"),
    Row(option="ServiceRules.strict_types", ask=f"POST {COMMANDS}", body=b'{"command":"x","timeout":"5"}', status=400, has="32-bit integer", why="a text is no number"),
    Row(option="ServiceRules.optional_trailing_slash", ask=f"GET {COMMANDS}/j1/", why="served with a slash, never redirected"),
    Row(option="ServiceRules.json_media_type", ask=f"GET {COMMANDS}/j1", told={"content-type": "application/json; charset=utf-8"}, why="the declared type"),
    Row(option="ServiceRules.ignore_unbound_body", ask=f"GET {COMMANDS}/j1", body=b"any", why="nobody asked for a body"),
    Row(option="ServiceRules.integer_numbers", ask=f"GET {COMMANDS}/j1", has='"duration_ms":1152921504606846976', why="64 bits as a number"),
    Row(option="ServiceRules.timestamp_digits", ask=f"POST {COMMANDS}", body=b'{"command":"x"}', has="00:00:01.000000Z", why="always six digits"),
    Row(option="ServiceRules.json_newline", ask="PUT /h/json/n", headers=JSON, body=b"[]", text="[]\n", why="JSON ends with a line break"),
    Row(option="ServiceRules.options_status", ask="OPTIONS /h/version", status=200, told={"allow": "GET, HEAD, OPTIONS"}, why="not 204"),
    Row(option="ServiceRules.cors", ask="OPTIONS /h/version", headers=PREFLIGHT, told={"access-control-max-age": "300"}, origins=("*",), why="the service's own rules"),
    Row(option="ServiceRules.credentials", ask="GET /openapi.json", has='[{"bearer":[]},{"apiKey":[]},{"rawToken":[]}]', why="any one of the three"),
    Row(option="CorsRules.allow_headers", ask="OPTIONS /h/version", headers=PREFLIGHT, told={"access-control-allow-headers": "X-One"}, origins=("*",), why="in place of the gateway's"),
    Row(option="CorsRules.expose_headers", ask="GET /h/version", headers=PREFLIGHT, told={"access-control-expose-headers": "X-Two"}, origins=("*",), why="in place of the gateway's"),
    Row(option="CorsRules.allow_methods", ask="OPTIONS /h/version", headers=PREFLIGHT, told={"access-control-allow-methods": "GET, POST"}, origins=("*",), why="the declared ones"),
    Row(option="CorsRules.max_age", ask="OPTIONS /h/version", headers=PREFLIGHT, told={"access-control-max-age": "300"}, origins=("*",), why="not the gateway's 600"),
    Row(option="CorsRules.any_origin", ask="GET /c/look", headers={"origin": "https://b.example"}, told={"access-control-allow-origin": "*"}, why="though the gateway names no origins"),
    Row(option="MethodRules.access", ask="GET /openapi.json", has='"security":[{},{"bearer":[]},{"apiKey":[]},{"rawToken":[]}]', why="OPTIONAL: nothing will do"),
    Row(option="MethodRules.rate_class", ask="GET /openapi.json", has="X-RateLimit-Remaining", why="limited RPCs tell how much is left"),
    Row(option="MethodRules.credentials", ask="GET /openapi.json", has='"security":[{"basic":[]}]', why="the place where tokens are had takes a name and a secret"),
    Row(option="MethodRules.success_status", ask="POST /v1/shelves/s/books", body=b"{}", status=201, why="made, not just done"),
    Row(option="MethodRules.empty_status", ask="DELETE /v1/books/x", status=204, text="", why="nothing to say"),
    Row(option="MethodRules.stream_modes", ask="GET /v1/rooms/a/events?count=1", told={"content-type": "application/x-ndjson"}, why="the first of its modes"),
    Row(option="MethodRules.errors", ask=f"DELETE {COMMANDS}/zz", status=404, has="Cannot cancel job", why="its own rule before the service's"),
    Row(option="MethodRules.max_body_bytes", ask="POST /h/bytes/n", body=b"x" * 1001, status=413, why="its own cap"),
    Row(option="MethodRules.when", ask=f"GET {COMMANDS}/j1/log?follow=1", text="as it grows", why="a parameter picks the stream"),
    Row(option="MethodRules.sse_event_field", ask="GET /v1/books:watch?count=1", has="event: added\n", why="the kind names the event"),
    Row(option="MethodRules.sse_id_field", ask="GET /v1/books:watch?count=1", has="id: 1\n", why="where to go on"),
    Row(option="MethodRules.sse_data_field", ask="GET /h/events", has='data: {"text":"one"}\n', why="the member alone"),
    Row(option="MethodRules.raw_field", ask=f"GET {COMMANDS}/j1/log?follow=true", text="as it grows", why="its bytes are the body"),
    Row(option="MethodRules.status_field", ask="POST /c/say", body=b'{"code":418,"text":"t"}', status=418, text='{"text":"t"}', why="the status, and not printed"),
    Row(option="MethodRules.location_field", ask="GET /", status=302, told={"location": "/agents"}, why="a redirect"),
    Row(option="MethodRules.body_required", ask=f"POST {COMMANDS}", status=400, has="the body is empty", why="nothing is not {}"),
    Row(option="MethodRules.reply_media_type", ask="GET /h/version", text="Version 1 <ü>", told={"content-type": "text/html; charset=utf-8"}, why="text, not JSON"),
    Row(option="MethodRules.non_json_as_empty", ask="POST /h/message", body=b"{", text='{"text":""}\n', why="counts as {}"),
    Row(option="MethodRules.multipart", ask="POST /h/files/n", headers=FORM, body=part("file", "hello"), has='"size":5', why="a form with a file"),
    Row(option="MethodRules.query_metadata", ask="GET /h/look?token=t", has='"authorization":"Bearer t"', why="a parameter stands for a header"),
    Row(option="MethodRules.any_accept", ask="GET /c/list", headers={"accept": "image/png"}, told={"content-type": "application/json"}, why="not 406"),
    Row(option="Multipart.part", ask="PUT /h/files/n", headers=FORM, body=part("data", "hello"), has='"size":5', why="the part's name"),
    Row(option="Multipart.filename_field", ask="POST /h/files/n", headers=FORM, body=part("file", "x", "f.txt"), has='"filename":"f.txt"', why="the file's name"),
    Row(option="Multipart.or_raw", ask="PUT /h/files/n", headers={"content-type": "text/x"}, body=b"hello", has='"contentType":"text/x"', why="the file by itself"),
    Row(option="QueryMetadata.query", ask="GET /h/look?tokens=t", has='"authorization":""', why="another parameter is none"),
    Row(option="QueryMetadata.metadata", ask="GET /h/look?token=t", headers={"authorization": "Basic b"}, has='"authorization":"Basic b"', why="the header of that name wins"),
    Row(option="QueryMetadata.prefix", ask="GET /h/look?token=t", has="Bearer t", why="put before it"),
    Row(option="Selector.query", ask=f"GET {COMMANDS}/j1/log?follow", text="as it grows", why="a bare name is true"),
    Row(option="Selector.header", ask="GET /c/pick", headers={"x-era": "old, NEW;q=1"}, has='"text":"new"', why="an item of the header's list, in any case"),
    Row(option="Selector.values", ask="GET /c/pick", headers={"x-era": "newer"}, has='"text":"old"', why="another value is none"),
    Row(option="Selector.prefixes", ask="GET /h/fail/POP", headers={"authorization": "Bearer x"}, status=404, text='{"a b":["no POP"]}\n', why="the beginning selects"),
    Row(option="Selector.cookie", ask="GET /h/fail/COOKIE", headers={"cookie": "era=new"}, status=418, why="a cookie selects"),
    Row(option="ErrorEnvelope.template", ask="GET /h/fail/ANY", status=404, has='{"detail":{"json":', why="JSON with values put in"),
    Row(option="ErrorEnvelope.media_type", ask=f"GET {COMMANDS}/zz", status=404, told={"content-type": "application/json; charset=utf-8"}, why="the declared type"),
    Row(option="ErrorEnvelope.omit_empty", ask="GET /c/fail/OTHER", status=409, text='{"title":"Conflict","reason":"OTHER"}', why="no empty word"),
    Row(option="ErrorEnvelope.text", ask="GET /h/fail/TEXT", status=410, text="gone: a b\n", why="plain text"),
    Row(option="ErrorRule.reasons", ask=f"GET {COMMANDS}/zz", status=404, has="Job not found", why="by its reason"),
    Row(option="ErrorRule.statuses", ask=f"POST {COMMANDS}", body=b'{"command":""}', status=400, has="Invalid request format", why="by its status"),
    Row(option="ErrorRule.http_status", ask="GET /h/fail/TEXT", status=410, why="not the canonical 404"),
    Row(option="ErrorRule.title", ask="GET /c/fail/OLD", status=409, has='"title":"Renamed"', why="the documented title"),
    Row(option="ErrorRule.message", ask=f"GET {COMMANDS}/zz", status=404, has="Job with ID zz not found", why="with the error's own metadata"),
    Row(option="ErrorRule.reason", ask="GET /c/fail/OLD", status=409, has='"reason":"NEW"', why="the documented reason"),
    Row(option="ErrorRule.words", ask="GET /c/fail/OLD", status=409, has='"word":"on"', why="the API's own word"),
    Row(option="ErrorRule.envelope", ask="GET /h/fail/TEXT", status=410, told={"content-type": "text/plain; charset=utf-8"}, why="a shape of its own"),
    Row(option="ErrorRule.when", ask="GET /h/fail/POP", status=404, text="", why="without the header the next rule holds"),
    Row(option="FieldRules.empty", ask=f"GET {COMMANDS}", has='"commands":[],"total":0', why="printed though the service omits"),
    Row(option="FieldRules.raw_json", ask=f"POST {COMMANDS}", body=b'{"command":"x","extra":{"b":1.10,"a":1}}', has='"extra":{"b":1.10,"a":1}', why="number-exact and in order"),
    Row(option="FieldRules.integer_number", ask="GET /c/look?large=9007199254740993&other=1", has='"large":9007199254740993,"other":"1"', why="this field alone"),
    Row(option="FieldRules.timestamp_digits", ask="GET /c/look?someTime=2026-01-01T00:00:00Z", has='"2026-01-01T00:00:00.000Z"', why="always three digits"),
    Row(option="FieldRules.csv", ask=f"GET {COMMANDS}?tags=a,b", has='"tags":["a","b"]', why="one value is a list"),
    Row(option="FieldRules.from_header", ask=f"POST {COMMANDS}", headers={"idempotency-key": "k"}, body=b'{"command":"x"}', has='"idempotency_key":"k"', why="a header fills it"),
    Row(option="FieldRules.from_request", ask=f"POST {COMMANDS}", body=b'{"command":"x"}', has='"peer":"127.0.0.1"', why="the connection fills it"),
    Row(option="FieldRules.hidden", ask=f"POST {COMMANDS}", body=b'{"command":"x"}', lacks="hush", why="never printed"),
    Row(option="FieldRules.text", ask=f"GET {COMMANDS}/j1", has='"stdout":"café �"', why="bytes as text"),
    Row(option="FieldRules.from_cookie", ask=f"POST {COMMANDS}", headers={"cookie": "a=b; session=s"}, body=b'{"command":"x"}', has='"session":"s"', why="a cookie fills it"),
    Row(option="FieldRules.raw_body", ask="POST /h/bytes/n", headers=JSON, body=b"{ not JSON", has='"content":"{ not JSON"', why="as it was sent"),
    Row(option="FieldRules.duration_units", ask="GET /h/look?patience=1h30m", has='"patience":"5400s"', why="in units"),
    Row(option="MessageRules.transparent", ask="POST /e/body", body=b'{"anyJson":[1.10]}', has='"anyJson":[1.10]', why="the value of its only field"),
    Row(option="MessageRules.empty", ask="GET /c/reply", text='{"text":null}', why="this message alone"),
    Row(option="EnumValueRules.word", ask=f"GET {COMMANDS}/j1", has='"status":"running"', why="the declared word"),
    Row(option="UNKNOWN_NAMES_IGNORE", ask=f"GET {COMMANDS}?nope=1", why="read on"),
    Row(option="UNKNOWN_NAMES_REFUSE", ask="POST /c/say", body=b'{"nope":1}', status=400, has="FIELD_UNKNOWN", why="400 that names it"),
    Row(option="JSON_NAMES_PROTO", ask=f"GET {COMMANDS}/j1", has='"exit_code"', why="snake_case"),
    Row(option="JSON_NAMES_CAMEL_CASE", ask="GET /c/look?some_time=2026-01-01T00:00:00Z", has='"someTime"', why="camelCase, whatever was sent"),
    Row(option="EMPTY_VALUE_OMIT", ask=f"GET {COMMANDS}/j1", lacks='"args"', why="left out"),
    Row(option="EMPTY_VALUE_NULL", ask=f"GET {COMMANDS}", has='"next":null', why="null"),
    Row(option="EMPTY_VALUE_DEFAULT", ask=f"GET {COMMANDS}", has='"total":0', why="its default"),
    Row(option="ACCESS_PUBLIC", ask="GET /c/fail/OTHER", status=409, why="the gateway itself asks for nothing"),
    Row(option="CREDENTIAL_BEARER", ask="GET /openapi.json", has='"bearer":{"type":"http","scheme":"bearer"', why="a scheme of the document"),
    Row(option="CREDENTIAL_API_KEY", ask="GET /openapi.json", has='"apiKey":{"type":"apiKey","in":"header","name":"X-API-Key"}', why="a scheme of the document"),
    Row(option="CREDENTIAL_BASIC", ask="GET /openapi.json", has='"basic":{"type":"http","scheme":"basic"}', why="a scheme of the document"),
    Row(option="CREDENTIAL_RAW_TOKEN", ask="GET /openapi.json", has='"rawToken":{"type":"apiKey","in":"header","name":"Authorization"', why="a scheme of the document"),
    Row(option="STREAM_MODE_SSE", ask="GET /v1/books:watch?count=1", told={"content-type": "text/event-stream; charset=utf-8"}, why="the default"),
    Row(option="STREAM_MODE_NDJSON", ask="GET /v1/books:watch?count=1", headers={"accept": "application/x-ndjson"}, told={"content-type": "application/x-ndjson"}, why="asked for"),
    Row(option="STREAM_MODE_ARRAY", ask="GET /c/list", text='[{"code":0,"text":"one"},{"code":0,"text":"two"}]', why="one array"),
    Row(option="STREAM_MODE_RAW", ask="GET /v1/books/x/content", told={"content-type": "text/x-book"}, why="the bytes as they are"),
    Row(option="STREAM_MODE_WEBSOCKET", ask="GET /v1/rooms/a/chat", status=426, told={"upgrade": "websocket"}, why="a plain GET is told to upgrade"),
    Row(option="REQUEST_PART_PEER", ask=f"POST {COMMANDS}", body=b'{"command":"x"}', has='"peer":"127.0.0.1"', why="the client's address"),
    Row(option="REQUEST_PART_HOST", ask="GET /c/look", headers={"host": "api.example:1"}, has='"host":"api.example:1"', why="the Host header"),
    Row(option="REQUEST_PART_SCHEME", ask="GET /c/look", has='"scheme":"http"', why="http or https"),
    Row(option="REQUEST_PART_TARGET", ask="GET /c/look?other=%31", has='"target":"/c/look?other=%31"', why="as sent"),
    Row(option="REQUEST_PART_QUERY", ask="GET /h/look?odd=a%20b", has='"query":"odd=a%20b"', why="as sent"),
    Row(option="REQUEST_PART_METHOD", ask="GET /h/look", has='"method":"GET"', why="the method"),
    Row(option="REQUEST_PART_END", ask="PUT /v1/books/b/content", body=b"x", has='"whole":true', why="the body came whole"),
]
# fmt: on


NEAR: dict[tuple[str, ...], Any] = {}
"""Gateways in this process by their origins: each is made once, for it takes as long as fifty requests."""


def all_of_them(server: Any) -> None:
    register(Library(), server)
    habits_pb2_grpc.add_HabitServiceServicer_to_server(Habits(), server)
    choices_pb2_grpc.add_ChoiceServiceServicer_to_server(Choices(), server)


@contextlib.asynccontextmanager
async def client_of(backend: str, origins: tuple[str, ...]) -> AsyncIterator[httpx.AsyncClient]:
    options = GatewayOptions(cors_origins=origins)
    async with contextlib.AsyncExitStack() as stack:
        gateway = NEAR.get(origins) if backend == "in process" else None
        if gateway is None:
            gateway = await stack.enter_async_context(made(backend, all_of_them, options=options))
        if backend == "in process":
            NEAR[origins] = gateway
        yield await stack.enter_async_context(in_memory(gateway))


@covers(*(row.option for row in ROWS))
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.option)
async def test_the_option_shows(backend: str, row: Row) -> None:
    method, _, url = row.ask.partition(" ")
    async with client_of(backend, row.origins) as client:
        reply = await client.request(method, url, content=row.body or None, headers=row.headers)
    assert (reply.status_code, reply.text if row.text is not None else None) == (row.status, row.text), row.why
    assert row.has in reply.text, row.why
    assert row.lacks not in reply.text, row.why
    assert {name: reply.headers.get(name) for name in row.told} == row.told, row.why


@covers("MethodRules.role", "MethodRules.not_audited", "ACCESS_OPEN", "ACCESS_OPTIONAL", "ACCESS_REQUIRED")
@covers("ROLE_VIEWER", "ROLE_OPERATOR", "ROLE_ADMIN", "ROLE_WORKER")
@pytest.mark.parametrize(
    ("ask", "header", "said", "why"),
    [
        ("GET /c/look", "", (options_pb2.ACCESS_OPTIONAL, options_pb2.ROLE_VIEWER, False), "a viewer, or nobody"),
        ("POST /c/say", "", (options_pb2.ACCESS_REQUIRED, options_pb2.ROLE_OPERATOR, True), "an operator, not noted"),
        ("GET /c/list", "", (options_pb2.ACCESS_OPEN, options_pb2.ROLE_UNSPECIFIED, False), "anybody"),
        ("GET /c/pick", "new", (options_pb2.ACCESS_UNSPECIFIED, options_pb2.ROLE_ADMIN, False), "the one selected"),
        ("GET /c/pick", "old", (options_pb2.ACCESS_UNSPECIFIED, options_pb2.ROLE_WORKER, False), "and the other"),
    ],
)
async def test_who_enforces_access_is_told_the_options(
    ask: str, header: str, said: tuple[int, int, bool], why: str
) -> None:
    """The gateway lets everybody in: access is the hook's and the interceptors' to enforce (tests/rpc/test_access.py)."""
    seen: list[Admission] = []

    async def note(admission: Admission) -> None:
        seen.append(admission)

    captured = HandlerCapture()
    choices_pb2_grpc.add_ChoiceServiceServicer_to_server(Choices(), captured)
    gateway = Gateway(handlers=captured, options=GatewayOptions(admission=note))
    method, _, url = ask.partition(" ")
    async with in_memory(gateway) as client:
        await client.request(method, url, headers={"x-era": header})
    assert [(one.rules.access, one.rules.role, one.rules.not_audited) for one in seen] == [said], why
