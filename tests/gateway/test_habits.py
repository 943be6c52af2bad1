"""Habits of documented APIs, expressed as data alone: texts, odd bodies, error bodies of their own, OPTIONS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import habits_pb2_grpc
import httpx
import pytest
from checklist import covers
from habit_servicer import Habits
from harness import in_memory, made

from gateway import AnnotationError, Gateway, GatewayOptions
from gateway.catalog import Catalog
from gateway.envelope import ErrorRule
from runner.gateway.v1 import options_pb2


@pytest.fixture
def habits() -> Habits:
    return Habits()


@pytest.fixture
async def gateway(habits: Habits, backend: str) -> AsyncIterator[Any]:
    def register(server: Any) -> None:
        habits_pb2_grpc.add_HabitServiceServicer_to_server(habits, server)

    async with made(backend, register, options=GatewayOptions(cors_origins=("*",))) as gateway:
        yield gateway


@pytest.fixture
async def client(gateway: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with in_memory(gateway) as made:
        yield made


@pytest.mark.parametrize("path", ["/h", "/h/", "/h/version", "/h/version/"])
async def test_texts_have_their_declared_type(client: httpx.AsyncClient, path: str) -> None:
    reply = await client.get(path)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert reply.text == "Version 1 <ü>"
    head = await client.head(path)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "14")


async def test_a_text_may_be_a_number_out_of_a_larger_reply(client: httpx.AsyncClient) -> None:
    assert (await client.get("/h/position")).content == b"3"


@covers("free-form-json")
@pytest.mark.parametrize("body", [b"[1, 1.10, {}]", b'"x"', b"null", b"true", b'{"b":1,"a":12345678901234567890}'])
async def test_free_form_bodies_have_any_shape_and_come_back_exact(client: httpx.AsyncClient, body: bytes) -> None:
    reply = await client.put("/h/json/a%2Fb", content=body, headers={"content-type": "application/json"})
    assert reply.content == body + b"\n", "and JSON replies of this service end with a line break"


async def test_what_is_no_json_is_refused_where_nothing_else_is_said(client: httpx.AsyncClient) -> None:
    assert (await client.put("/h/json/n", content=b"{")).status_code == 400
    assert (await client.put("/h/json/n", content=b"{}", headers={"content-type": "text/plain"})).status_code == 415


@pytest.mark.parametrize(
    ("body", "content_type", "read"),
    [
        (b'{"text": "t"}', "application/json", '{"text":"t"}'),
        (b'{"text": "t"}', "application/x-www-form-urlencoded", '{"text":""}'),
        (b'{"text": "t"}', None, '{"text":""}'),
        (b"{", "application/json", '{"text":""}'),
        (b"", "application/json", '{"text":""}'),
    ],
)
async def test_what_is_no_json_counts_as_empty_by_option(
    client: httpx.AsyncClient, body: bytes, content_type: str | None, read: str
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    assert (await client.post("/h/message", content=body, headers=headers)).text == read + "\n"
    free = await client.post("/h/json/n", content=body, headers=headers)
    assert free.text.strip() == (body.decode() if read != '{"text":""}' else "{}")


async def test_what_is_json_of_the_wrong_shape_is_still_refused(client: httpx.AsyncClient) -> None:
    for body in ([], {"text": 1}, {"other": 1}):
        assert (await client.post("/h/message", json=body)).status_code == 400


async def test_raw_bodies_are_bytes_of_any_type(client: httpx.AsyncClient) -> None:
    reply = await client.post("/h/bytes/n", content=b'{"a": \\\n 1}', headers={"content-type": "application/json"})
    assert reply.json() == {"name": "n", "content": '{"a": \\\n 1}', "contentType": "application/json"}
    assert (await client.post("/h/bytes/n", content=b"x" * 1001)).status_code == 413
    assert (await client.post("/h/bytes/n")).json()["content"] == ""
    assert (await client.post("/h/text", content="ü".encode())).json() == {"text": "ü"}
    assert (await client.post("/h/text", content=b"\xff")).status_code == 400


async def test_error_bodies_nest_what_the_metadata_holds_as_json(client: httpx.AsyncClient) -> None:
    reply = await client.get("/h/fail/ANY")
    assert reply.content == (
        b'{"detail":{"json":{"job_queue":["Missing data.",9007199254740993]}},"message":"no ANY"}\n'
    )
    assert (await client.get("/h/nothing")).json() == {"detail": {}, "message": "there is nothing at this path"}


async def test_an_error_may_be_plain_text(client: httpx.AsyncClient) -> None:
    reply = await client.get("/h/fail/TEXT")
    assert (reply.status_code, reply.text) == (410, "gone: a b\n")
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"


async def test_the_caller_may_choose_the_shape_of_an_error(client: httpx.AsyncClient) -> None:
    told = await client.get("/h/fail/POP", headers={"authorization": "Bearer x"})
    assert (told.json(), told.headers["content-type"]) == ({"a b": ["no POP"]}, "application/problem+json")
    untold = await client.get("/h/fail/POP", headers={"authorization": "x"})
    assert (untold.status_code, untold.content, untold.headers["content-length"]) == (404, b"", "0")
    assert (await client.get("/h/fail/COOKIE", headers={"cookie": "era=new"})).status_code == 418
    assert (await client.get("/h/fail/COOKIE", headers={"cookie": "era=old"})).status_code == 404


async def test_metadata_shapes_a_raw_reply(client: httpx.AsyncClient) -> None:
    reply = await client.get("/h/shape")
    assert (reply.status_code, reply.headers["location"], reply.content) == (302, "/agents", b"over there")
    assert reply.headers.get_list("set-cookie") == ["a=1; Path=/", "b=2"]
    assert reply.headers["content-type"] == "text/x-own"
    empty = await client.get("/h/shape", headers={"x-api-key": "empty"})
    assert (empty.status_code, empty.content) == (204, b"")
    assert "content-type" not in empty.headers


async def test_parts_of_the_request_fill_fields(client: httpx.AsyncClient) -> None:
    reply = await client.get("/h/look?plain=1&odd=a%20b&odd=c")
    assert reply.json() == {"query": "plain=1&odd=a%20b&odd=c", "method": "GET", "authorization": "", "plain": "1"}


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("1h", "3600s"),
        ("1h30m", "5400s"),
        ("90m", "5400s"),
        ("1.5m", "90s"),
        ("2s250ms", "2.250s"),
        ("0s", "0s"),
        ("1.5s", "1.500s"),
        ("-3s", "-3s"),
        ("", None),
        ("1", None),
        ("30m1h", None),
        ("1d", None),
        ("h", None),
        ("1h ", None),
    ],
)
async def test_durations_may_be_in_units(client: httpx.AsyncClient, text: str, read: str | None) -> None:
    reply = await client.get("/h/look", params={"patience": text})
    assert reply.json().get("patience") == read
    assert reply.status_code == (400 if read is None else 200)
    assert (await client.get("/h/look?exact=1h")).status_code == 400, "only where the field says so"


@pytest.mark.parametrize(
    ("query", "header", "seen"),
    [
        ("token=t", None, "Bearer t"),
        ("token=t", "Basic b", "Basic b"),
        ("token=", None, ""),
        ("token=a%0d%0ab", None, ""),
        ("tokens=t", None, ""),
    ],
)
async def test_a_query_parameter_may_stand_for_a_header(
    client: httpx.AsyncClient, query: str, header: str | None, seen: str
) -> None:
    reply = await client.get(f"/h/look?{query}", headers={} if header is None else {"authorization": header})
    assert reply.json()["authorization"] == seen


async def test_events_are_named_by_the_member_that_is_set(client: httpx.AsyncClient) -> None:
    reply = await client.get("/h/events")
    assert reply.text == (
        'id: 1\nevent: log\ndata: {"text":"one"}\n\n'
        'id: 2\nevent: end\ndata: {"position":0,"queue":"q"}\n\n'
        "id: 3\ndata: null\n\n"
    )


async def test_a_wrong_method_is_told_in_the_owners_words(client: httpx.AsyncClient) -> None:
    reply = await client.delete("/h/version/")
    assert (reply.status_code, reply.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert reply.json() == {"detail": {}, "message": "Method Not Allowed"}


async def test_options_and_preflights_answer_as_declared(client: httpx.AsyncClient) -> None:
    plain = await client.options("/h/version")
    assert (plain.status_code, plain.headers["allow"]) == (200, "GET, HEAD, OPTIONS")
    preflight = await client.options(
        "/h/version", headers={"origin": "https://a.example", "access-control-request-method": "GET"}
    )
    assert preflight.status_code == 200
    assert {name: value for name, value in preflight.headers.items() if name.startswith("access-control")} == {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": "X-One",
        "access-control-max-age": "300",
    }
    reply = await client.get("/h/version", headers={"origin": "https://a.example"})
    assert reply.headers["access-control-expose-headers"] == "X-Two"
    assert (await client.get("/h/nothing", headers={"origin": "null"})).headers["access-control-expose-headers"]


async def test_a_path_nobody_owns_is_answered_for_by_who_serves_it(library: Any) -> None:
    """``/v1`` has no owner: a wrong method on a path below it is told by the service that has the path."""
    from gateway_servicers import capture

    async with in_memory(Gateway(handlers=capture(library))) as client:
        assert (await client.post("/v1/books/x")).json()["details"][0]["reason"] == "METHOD_NOT_ALLOWED"


@pytest.mark.parametrize(
    ("selector", "problem"),
    [
        (options_pb2.Selector(), "a selector names"),
        (options_pb2.Selector(query="a", cookie="b"), "a selector names"),
    ],
)
def test_a_selector_that_selects_nothing_is_refused(selector: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ErrorRule(options_pb2.ErrorRule(when=selector))


def test_the_catalog_names_what_it_has_no_descriptor_for() -> None:
    with pytest.raises(AnnotationError, match=r"no descriptor for the service nobody\.Knows"):
        Catalog(["nobody.Knows"], GatewayOptions())
