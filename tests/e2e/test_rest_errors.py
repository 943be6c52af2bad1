"""Whatever is wrong with a request: google.rpc.Status as JSON, the right code, a request id, and nothing done."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate

COMMANDS = "/api/v2/commands"
JSON = {"content-type": "application/json"}


def _check(reply: httpx.Response, status: int, code: int) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"].startswith("application/json")
    assert len(reply.headers["x-request-id"]) >= 8
    body: dict[str, Any] = reply.json()
    assert body["code"] == code
    assert body["message"]
    for word in ("Traceback", "json_format", "orjson", "Exception", "asyncio"):
        assert word not in reply.text
    infos = [detail for detail in body["details"] if detail["@type"].endswith("google.rpc.ErrorInfo")]
    assert len(infos) == 1
    assert infos[0]["reason"]
    assert infos[0]["domain"]
    return body


@pytest.mark.parametrize(
    "body",
    [
        b"{bad",
        b"",
        b"[]",
        b'"text"',
        b"null",
        b"\xff\xfe",
        b'{"argv": "echo"}',
        b'{"argv": [1]}',
        b'{"argv": ["true"], "priority": "high"}',
        b'{"argv": ["true"], "priority": 1.5}',
        b'{"argv": ["true"], "priority": 5000}',
        b'{"argv": ["true"], "timeout": "soon"}',
        b'{"argv": ["true"], "environment": ["A=B"]}',
        b'{"argv": ["true"], "environment": {"A=B": "c"}}',
        b'{"argv": ["true"], "workingDirectory": "relative"}',
        b'{"argv": ["true"], "noSuchField": 1}',
        b'{"argv": []}',
        b'{"argv": [""]}',
        b'{"argv": ["nul\\u0000"]}',
        b'{"argv": ["true"]} trailing',
        b"[" * 5000,
        b'{"argv": ["true"], "requestId": "' + b"x" * 201 + b'"}',
    ],
)
async def test_a_body_that_cannot_be_is_400(http: httpx.AsyncClient, body: bytes) -> None:
    before = (await http.get(COMMANDS)).json()["totalSize"]
    _check(await http.post(COMMANDS, content=body, headers=JSON), 400, 3)
    assert (await http.get(COMMANDS)).json()["totalSize"] == before


async def test_the_field_at_fault_is_named(http: httpx.AsyncClient) -> None:
    reply = await http.post(COMMANDS, json={"argv": ["true"], "priority": 5000})
    violations = [detail for detail in reply.json()["details"] if detail["@type"].endswith("BadRequest")]
    assert violations[0]["fieldViolations"][0]["field"] == "priority"


async def test_a_huge_body_is_413(http: httpx.AsyncClient) -> None:
    reply = await http.post(COMMANDS, json={"argv": ["echo", "x" * (2 << 20)]})
    _check(reply, 413, 8 if reply.json()["code"] == 8 else 3)


async def test_a_huge_body_of_unknown_length_is_413_too(http: httpx.AsyncClient) -> None:
    async def parts() -> Any:
        yield b'{"argv": ["echo", "'
        for _ in range(64):
            yield b"x" * 65536
        yield b'"]}'

    reply = await http.post(COMMANDS, content=parts(), headers=JSON)
    assert reply.status_code == 413


async def test_another_media_type_is_415(http: httpx.AsyncClient) -> None:
    _check(await http.post(COMMANDS, content=b"<a/>", headers={"content-type": "text/xml"}), 415, 3)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v2/jobs/01999999-0000-7000-8000-000000000000"),
        ("GET", "/api/v2/jobs/no-such-job"),
        ("GET", "/api/v2/jobs/%2e%2e"),
        ("GET", "/api/v2/jobs/a%2Fb"),
        ("GET", "/api/v2/jobs/%00"),
        ("GET", "/api/v2/commands/no-such-job"),
        ("GET", "/api/v2/jobs/no-such-job/logs"),
        ("GET", "/api/v2/jobs/no-such-job/logs:stream?follow=true"),
        ("GET", "/api/v2/jobs/no-such-job:wait"),
        ("GET", "/api/v2/jobs/no-such-job/attempts"),
        ("GET", "/api/v2/jobs:watch?job_id=no-such-job"),
        ("GET", "/api/v2/runners/no-such-runner"),
        ("POST", "/api/v2/jobs/no-such-job:cancel"),
        ("POST", "/api/v2/commands/no-such-job:cancel"),
        ("GET", "/api/v2/nothing-here"),
    ],
)
async def test_what_is_not_there_is_404(http: httpx.AsyncClient, method: str, path: str) -> None:
    body = {"json": {}} if method == "POST" else {}
    _check(await http.request(method, path, **body), 404, 5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "query",
    ["page_size=-1", "page_size=x", "page_size=99999999999", "skip=-1", "page_token=nonsense", "states=NO", "no=1"],
)
async def test_a_query_that_cannot_be_is_400(http: httpx.AsyncClient, query: str) -> None:
    _check(await http.get(f"/api/v2/jobs?{query}"), 400, 3)


async def test_the_wrong_method_is_405_and_says_which_are_right(http: httpx.AsyncClient) -> None:
    reply = await http.delete(COMMANDS)
    _check(reply, 405, 12)
    assert {"GET", "POST"} <= {word.strip() for word in reply.headers["allow"].split(",")}


async def test_a_job_that_has_ended_cannot_be_cancelled(http: httpx.AsyncClient) -> None:
    command = (await http.post(COMMANDS, json={"argv": ["true"]})).json()["command"]
    await http.get(f"/api/v2/jobs/{command['jobId']}:wait", params={"timeout": "60s"})
    reply = await http.post(f"{COMMANDS}/{command['jobId']}:cancel", json={})
    body = _check(reply, 400, 9)
    assert body["details"][0]["reason"] == "JOB_FINISHED"


async def test_a_bad_key_is_401_also_where_none_is_needed(http: httpx.AsyncClient) -> None:
    _check(await http.get(COMMANDS, headers={"authorization": "Bearer wrong"}), 401, 16)


async def test_a_viewer_may_look_but_not_run(http: httpx.AsyncClient) -> None:
    key = {"authorization": "Bearer viewer-key"}
    assert (await http.get(COMMANDS, headers=key)).status_code == 200
    body = _check(await http.post(COMMANDS, json={"argv": ["true"]}, headers=key), 403, 7)
    assert body["details"][0]["reason"] == "ROLE_INSUFFICIENT"


async def test_a_listener_named_by_the_caller_is_not_believed(http: httpx.AsyncClient) -> None:
    """`x-http-listener` is what the gateway tells the servicers: a caller must not be able to say it."""
    reply = await http.get(COMMANDS, headers={"x-http-listener": "198.18.0.1:80"})
    assert reply.status_code == 200


async def test_a_request_id_of_the_caller_comes_back(http: httpx.AsyncClient) -> None:
    reply = await http.get(COMMANDS, headers={"x-request-id": "mine-1234"})
    assert reply.headers["x-request-id"] == "mine-1234"


async def test_openapi_is_valid_and_has_every_native_path(http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).raise_for_status().json()
    validate(document)
    assert document["openapi"].startswith("3.1")
    paths = document["paths"]
    assert "post" in paths[COMMANDS]
    assert "get" in paths[COMMANDS]
    assert any(path.endswith("/logs:stream") for path in paths)
    assert not any("Dispatch" in path for path in paths)


async def test_health(http: httpx.AsyncClient) -> None:
    assert (await http.get("/health")).json()["status"] == "healthy"
