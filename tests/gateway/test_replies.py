"""Routing answers, errors and headers, as a client sees them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx
import pytest
from checklist import covers
from gateway_servicers import Library
from harness import in_memory

from gateway import GatewayOptions
from gateway.metadata import reply_shape


@covers("status", "errors")
@pytest.mark.parametrize(
    ("name", "status", "code", "message"),
    [
        ("missing", 404, 5, "no such book"),
        ("coded", 409, 6, "there already"),
        ("busy", 503, 14, "come back"),
        ("odd", 400, 9, "odd"),
        ("login", 401, 16, "who are you?"),
    ],
)
async def test_servicer_errors_have_their_canonical_status(
    client: httpx.AsyncClient, name: str, status: int, code: int, message: str
) -> None:
    reply = await client.get(f"/v1/books/{name}")
    assert reply.status_code == status
    assert (reply.json()["code"], reply.json()["message"]) == (code, message)
    assert reply.headers["content-type"] == "application/json"


async def test_retry_info_becomes_retry_after_rounded_up(client: httpx.AsyncClient) -> None:
    reply = await client.get("/v1/books/busy")
    assert reply.headers["retry-after"] == "2"
    assert reply.json()["details"][0]["retryDelay"] == "1.000000001s"


async def test_unauthenticated_says_how_to_authenticate(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/books/login")).headers["www-authenticate"] == "Bearer"


async def test_details_of_unknown_type_degrade_to_base64(client: httpx.AsyncClient) -> None:
    details = (await client.get("/v1/books/odd")).json()["details"]
    assert details == [{"@type": "type.googleapis.com/nobody.Knows", "value": "AP8="}]


async def test_a_crash_is_a_500_that_tells_only_the_log(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, logger="gateway"):
        reply = await client.get("/v1/books/crash", headers={"x-request-id": "r-1"})
    assert reply.status_code == 500
    assert "secret" not in reply.text
    assert "r-1" in reply.json()["message"]
    (record,) = [each for each in caplog.records if each.name.startswith("gateway")]
    assert (vars(record)["action"], vars(record)["request_id"]) == ("rpc_crashed", "r-1")
    assert "secret" in str(record.exc_info) + record.getMessage()


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1", True), ("a b", False), ("x" * 129, False), ("", False), ("<script>", False)]
)
async def test_request_ids_are_kept_when_plain(client: httpx.AsyncClient, given: str, kept: bool) -> None:
    reply = await client.get("/v1/books/x", headers={"x-request-id": given})
    assert (reply.headers["x-request-id"] == given) is kept
    assert len(reply.headers["x-request-id"]) >= 5


async def test_unknown_paths_get_their_owners_envelope(client: httpx.AsyncClient) -> None:
    strict = await client.get("/v1/nothing")
    assert strict.status_code == 404
    assert strict.json()["details"][0]["reason"] == "ROUTE_NOT_FOUND"
    facade = await client.get("/api/v9/nothing")
    assert facade.json() == {"error": "Not Found", "message": "there is nothing at this path"}
    assert facade.headers["content-type"] == "application/json; charset=utf-8"
    nobody = await client.get("/api/v99/nothing")
    assert (nobody.status_code, nobody.json()["error"]) == (404, "Not Found"), "a prefix covers whole segments"
    assert "x-request-id" in nobody.headers


async def test_a_known_path_with_another_method_is_405(client: httpx.AsyncClient) -> None:
    reply = await client.post("/v1/books/x")
    assert reply.status_code == 405
    assert reply.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH"
    assert reply.json()["details"][0]["reason"] == "METHOD_NOT_ALLOWED"


async def test_head_is_get_without_its_body(client: httpx.AsyncClient) -> None:
    get, head = await client.get("/v1/books/x"), await client.head("/v1/books/x")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]
    assert (await client.head("/v1/books/missing")).status_code == 404


async def test_options_lists_methods(client: httpx.AsyncClient) -> None:
    reply = await client.options("/v1/books/x")
    assert (reply.status_code, reply.headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS, PATCH")


async def test_success_statuses(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/shelves/s/books", json={})).status_code == 201
    deleted = await client.delete("/v1/books/x")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert "content-length" not in deleted.headers


async def test_servicers_shape_replies_by_metadata(client: httpx.AsyncClient) -> None:
    reply = await client.get("/v1/books/shaped")
    assert (reply.status_code, reply.headers["etag"]) == (203, '"1"')
    assert reply.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert "grpc-internal" not in reply.headers
    assert int(reply.headers["content-length"]) == len(reply.content)


@covers("headers-and-metadata")
@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("x-http-header-bad", "x\r\nset-cookie: a=b", "a line break would forge a header"),
        ("x-http-header-content-length", "1", "framing is the server's"),
        ("x-http-header-transfer-encoding", "chunked", "framing is the server's"),
        ("x-http-header-a b", "c", "no header name"),
        ("grpc-status", "0", "gRPC stays inside"),
        ("etag", "1", "only x-http-header-* is meant for HTTP"),
        ("x-http-status", "20000", "no status"),
        ("x-http-status", "abc", "no status"),
        ("x-http-status", "101", "not a final status"),
    ],
)
def test_metadata_that_is_no_http_is_dropped(key: str, value: str, why: str) -> None:
    shape = reply_shape([(key, value)])
    assert (shape.status, shape.headers, shape.content_type) == (0, [], ""), why


async def test_headers_become_metadata_by_allow_list(client: httpx.AsyncClient, library: Library, backend: str) -> None:
    await client.get(
        "/v1/books/x",
        headers=[
            ("authorization", "Bearer k"),
            ("Grpc-Metadata-Tenant", "t1"),
            ("grpc-metadata-blob-bin", "AP8"),
            ("grpc-metadata-x-http-listener", "spoofed"),
            ("x-http-listener", "spoofed"),
            ("cookie", "a=b"),
            ("x-other", "no"),
            ("x-request-id", "r1"),
        ],
    )
    (metadata,) = library.metadata
    metadata.pop("user-agent")
    assert metadata == {
        "authorization": "Bearer k",
        "tenant": "t1",
        "blob-bin": b"\x00\xff",
        "x-request-id": "r1",
        "x-http-listener": "test:None" if "test:None" in metadata.values() else metadata["x-http-listener"],
        "x-http-host": "test",
        "x-http-route": "GET /v1/books/{name}",
    }
    assert metadata["x-http-listener"] != "spoofed"
    if backend == "in process":
        assert library.peers == ["ipv4:127.0.0.1:5555"]


@covers("deadline")
@pytest.mark.parametrize(
    ("header", "value"), [("grpc-timeout", "20m"), ("x-request-timeout", "0.02"), ("grpc-timeout", "20000u")]
)
async def test_deadlines_end_calls(
    client: httpx.AsyncClient, library: Library, backend: str, header: str, value: str
) -> None:
    reply = await client.get("/v1/books/hang", headers={header: value})
    assert (reply.status_code, reply.json()["code"]) == (504, 4)
    if backend == "in process" or library.waiting.is_set():  # a channel may find the time over before it calls
        await asyncio.wait_for(library.cancelled.wait(), timeout=60)


@covers("deadline")
@pytest.mark.parametrize(("header", "value"), [("grpc-timeout", "0S"), ("x-request-timeout", "0")])
async def test_what_is_too_late_already_does_not_begin(
    client: httpx.AsyncClient, library: Library, header: str, value: str
) -> None:
    reply = await client.get("/v1/books/x", headers={header: value})
    assert (reply.status_code, reply.json()["code"]) == (504, 4)
    assert library.requests == []


@pytest.mark.parametrize(("header", "value"), [("grpc-timeout", "5"), ("x-request-timeout", "-1")])
async def test_bad_deadlines_are_400(client: httpx.AsyncClient, header: str, value: str) -> None:
    reply = await client.get("/v1/books/x", headers={header: value})
    assert (reply.status_code, reply.json()["details"][0]["reason"]) == (400, "DEADLINE_INVALID")


async def test_bodies_over_the_cap_are_413(over: Any) -> None:
    async def chunks() -> Any:
        for _ in range(10):
            yield b" " * 20

    async with over(options=GatewayOptions(max_body_bytes=100)) as gateway, in_memory(gateway) as client:
        announced = await client.post("/e/body", content=b" " * 101)
        found = await client.post("/e/body", content=chunks())
        fits = await client.post("/e/body", content=b"{}" + b" " * 98)
    assert [announced.status_code, found.status_code, fits.status_code] == [413, 413, 200]
    assert announced.json()["details"][0]["reason"] == "BODY_TOO_LARGE"


async def test_gzip_bodies_are_inflated_under_the_cap(over: Any) -> None:
    import gzip

    async with over(options=GatewayOptions(max_body_bytes=1000)) as gateway, in_memory(gateway) as client:

        async def post(content: bytes, encoding: str = "gzip") -> httpx.Response:
            return await client.post("/e/body", content=content, headers={"content-encoding": encoding})

        assert (await post(gzip.compress(b'{"int32Value": 1}'))).json()["int32Value"] == 1
        assert (await post(gzip.compress(b" " * 100_000))).status_code == 413
        members = gzip.compress(b'{"int32Value"') + gzip.compress(b": 2}")
        assert (await post(members)).json()["int32Value"] == 2
        assert (await post(gzip.compress(b"{}") + gzip.compress(b" " * 100_000))).status_code == 413
        assert (await post(gzip.compress(b"{}") + b"x")).status_code == 400
        assert (await post(b"no gzip")).status_code == 400
        assert (await post(gzip.compress(b"{}")[:-4])).status_code == 400
        assert (await post(b"{}", "br")).status_code == 415


async def test_cors_answers_preflights_and_marks_replies(over: Any) -> None:
    options = GatewayOptions(cors_origins=("https://ui.test",))
    async with over(options=options) as gateway, in_memory(gateway) as client:
        asked = {"origin": "https://ui.test", "access-control-request-method": "PATCH"}
        preflight = await client.options("/v1/books/x", headers=asked)
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == "https://ui.test"
        assert "PATCH" in preflight.headers["access-control-allow-methods"]
        assert "X-API-Key" in preflight.headers["access-control-allow-headers"]
        failed = await client.get("/v1/books/missing", headers={"origin": "https://ui.test"})
        assert failed.headers["access-control-allow-origin"] == "https://ui.test", "errors too"
        other = await client.get("/v1/books/x", headers={"origin": "https://evil.test"})
        assert "access-control-allow-origin" not in other.headers
        assert other.headers["vary"] == "Origin"


async def test_without_origins_there_is_no_cors(client: httpx.AsyncClient) -> None:
    reply = await client.get("/v1/books/x", headers={"origin": "https://ui.test"})
    assert not any(name.startswith("access-control") for name in reply.headers)


async def test_rpcs_without_annotations_are_served_on_demand(over: Any) -> None:
    async with over(options=GatewayOptions(rpc_routes=True)) as gateway, in_memory(gateway) as client:
        reply = await client.post("/test.library.v1.LibraryService/CheckOutBook", json={"name": "b"})
        assert reply.json()["title"] == "checked out"
        unserved = await client.post("/test.library.v1.LibraryService/Internal", json={"name": "b"})
        assert unserved.status_code == 501
