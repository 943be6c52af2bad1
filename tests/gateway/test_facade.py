"""A documented API with habits of its own, expressed as data alone."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

JSON = "application/json; charset=utf-8"


async def test_replies_are_spelled_as_declared(client: httpx.AsyncClient) -> None:
    body = b'{"command": "echo", "args": ["a"], "extra": {"n": 1.10, "big": 123456789012345678901}, "new": 1} rest'
    reply = await client.post(
        "/api/v9/commands",
        content=body,
        headers={"content-type": "text/plain", "idempotency-key": "k1", "cookie": "x=1; session=s1"},
    )
    assert (reply.status_code, reply.headers["content-type"]) == (200, JSON)
    extra = '{"n": 1.10, "big": 123456789012345678901}'
    assert reply.text == (
        '{"job_id":"j1","command":"echo","args":["a"],"status":"queued","created_at":"1970-01-01T00:00:01.000000Z",'
        f'"extra":{extra},"request":{{"command":"echo","args":["a"],"extra":{extra},"idempotency_key":"k1",'
        '"peer":"127.0.0.1","session":"s1"}}'
    )


async def test_fields_with_presence_print_also_when_zero(client: httpx.AsyncClient) -> None:
    reply = await client.get("/api/v9/commands/j1")
    assert reply.json() == {
        "job_id": "j1",
        "status": "running",
        "exit_code": 0,
        "stdout": "café �",
        "duration_ms": 2**60,
    }


async def test_field_rules_beat_the_services(client: httpx.AsyncClient) -> None:
    reply = await client.get("/api/v9/commands?tags=a,b&tags=c&limit=x&unknown=1")
    assert reply.json() == {
        "commands": [],
        "total": 0,
        "asked": {"limit": "x", "tags": ["a", "b", "c"]},
        "next": None,
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is empty"),
        (b"{", "the body is not valid JSON"),
        (b'{"command": "x", "timeout": "5"}', 'timeout: expected a 32-bit integer, got "5"'),
        (b'{"command": "x", "timeout": 1.5}', "timeout: expected a 32-bit integer, got 1.5"),
        (b'{"command": "x", "args": "x"}', 'args: expected a list, got "x"'),
        (b'{"command": 1}', "command: expected a string, got 1"),
        (b'{"command": ""}', "command: must not be empty"),
        (b"[]", "expected an object, got a list"),
    ],
)
async def test_every_bad_request_has_the_documented_title(client: httpx.AsyncClient, body: bytes, message: str) -> None:
    reply = await client.post("/api/v9/commands", content=body)
    assert (reply.status_code, reply.headers["content-type"]) == (400, JSON)
    assert reply.json() == {"error": "Invalid request format", "message": message}


async def test_errors_are_reworded_by_reason_the_rpcs_own_rules_first(client: httpx.AsyncClient) -> None:
    got = await client.get("/api/v9/commands/zz")
    assert got.status_code == 404
    assert got.json() == {"error": "Job not found", "message": "Job with ID zz not found"}
    cancelled = await client.delete("/api/v9/commands/zz")
    assert cancelled.json() == {"error": "Cannot cancel job", "message": "job not found"}


@pytest.mark.parametrize("path", ["/api/v9/commands", "/api/v9/commands/"])
async def test_trailing_slashes_are_served_without_redirect(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 200
    assert (await client.post(path, content=b'{"command": "x"}')).status_code == 200


@pytest.mark.parametrize(
    ("query", "expected", "why"),
    [
        ("", b'{"data":"all of it"}', "the plain RPC"),
        ("?follow=true", b"as it grows", "the value selects the stream"),
        ("?follow=1", b"as it grows", "any of the values"),
        ("?follow", b"as it grows", "a bare name is true"),
        ("?follow=false", b'{"data":"all of it"}', "another value"),
    ],
)
async def test_a_query_value_picks_between_two_rpcs(
    client: httpx.AsyncClient, query: str, expected: bytes, why: str
) -> None:
    assert (await client.get(f"/api/v9/commands/j1/log{query}")).content == expected, why


async def test_a_body_where_none_is_bound_is_ignored(client: httpx.AsyncClient) -> None:
    assert (await client.request("GET", "/api/v9/commands/j1", content=b"whatever")).status_code == 200


async def test_redirects_come_from_a_field(client: httpx.AsyncClient) -> None:
    reply = await client.get("/")
    assert (reply.status_code, reply.headers["location"]) == (302, "/agents")
    assert reply.text == "{}"


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_405_keeps_the_envelope(client: httpx.AsyncClient, method: str) -> None:
    reply = await client.request(method, "/api/v9/commands")
    body: dict[str, Any] = reply.json()
    assert (reply.status_code, body["error"]) == (405, "Method Not Allowed")
    assert reply.headers["allow"] == "GET, HEAD, OPTIONS, POST"
