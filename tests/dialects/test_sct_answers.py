"""contract/sct.md §1: every body on every path is JSON with a message; statuses, methods and slashes."""

from __future__ import annotations

import re

import pytest
from sct_server import COMMANDS, JSON, Sct

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")

ERRORS = [
    pytest.param("GET", "/api/v1", 404, "Not Found", id="s1: prefix"),
    pytest.param("GET", "/api/v1/", 404, "Not Found", id="s1: prefix with slash"),
    pytest.param("GET", "/api/v1/nothing", 404, "Not Found", id="s1: unknown path"),
    pytest.param("POST", "/api/v1/nothing/at/all", 404, "Not Found", id="s1: unknown path, POST"),
    pytest.param("GET", f"{COMMANDS}/a/b", 404, "Not Found", id="s1: unknown path below a job"),
    pytest.param("GET", f"{COMMANDS}/x", 404, "Job not found", id="s5: unknown id"),
    pytest.param("GET", f"{COMMANDS}/%FF", 400, "Invalid request format", id="s1: path that is not UTF-8"),
    pytest.param("GET", f"{COMMANDS}/%zz", 400, "Invalid request format", id="s1: broken escape"),
    pytest.param("DELETE", f"{COMMANDS}/x", 404, "Cannot cancel job", id="s8: unknown id"),
    pytest.param("PUT", COMMANDS, 405, "Method Not Allowed", id="s1: PUT on the list"),
    pytest.param("DELETE", COMMANDS, 405, "Method Not Allowed", id="s1: DELETE on the list"),
    pytest.param("POST", f"{COMMANDS}/x", 405, "Method Not Allowed", id="s1: POST on a job"),
    pytest.param("PATCH", f"{COMMANDS}/x/", 405, "Method Not Allowed", id="s1: PATCH on a job with slash"),
    pytest.param("POST", COMMANDS, 400, "Invalid request format", id="s4: empty body"),
    pytest.param("POST", "/health", 405, "Method Not Allowed", id="s3: POST on health"),
    pytest.param("GET", "/health/more", 404, "Not Found", id="s3: below health"),
]


@pytest.mark.parametrize(("method", "path", "status", "error"), ERRORS)
def test_every_error_is_json_with_a_message(sct: Sct, method: str, path: str, status: int, error: str) -> None:
    reply = sct.http.request(method, path)
    assert reply.status_code == status
    assert reply.headers["content-type"] == JSON
    assert set(reply.json()) == {"error", "message"}
    assert reply.json()["error"] == error
    assert reply.json()["message"]
    assert reply.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", COMMANDS, {"GET", "HEAD", "OPTIONS", "POST"}),
        ("POST", f"{COMMANDS}/x", {"DELETE", "GET", "HEAD", "OPTIONS"}),
        ("DELETE", "/health", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_405_names_the_methods_that_are_allowed(sct: Sct, method: str, path: str, allow: set[str]) -> None:
    reply = sct.http.request(method, path)
    assert reply.status_code == 405
    assert set(reply.headers["allow"].split(", ")) == allow


@pytest.mark.parametrize("path", ["/nothing", "/api", "/api/v10/commands", "/healthy"])
def test_unknown_paths_elsewhere_are_json_too(sct: Sct, path: str) -> None:
    reply = sct.http.get(path)
    assert reply.status_code == 404
    assert reply.headers["content-type"].startswith("application/json")
    assert set(reply.json()) == {"error", "message"}


def test_413_comes_before_the_body_was_read(sct: Sct) -> None:
    reply = sct.http.post(COMMANDS, content=b'{"command": "' + b"x" * (1 << 20) + b'"}')
    assert reply.status_code == 413
    assert reply.headers["content-type"] == JSON
    assert reply.json()["message"] == "the body is larger than 1048576 bytes"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", [COMMANDS, "/health"])
def test_a_trailing_slash_changes_nothing_and_never_redirects(sct: Sct, method: str, path: str) -> None:
    assert sct.http.request(method, f"{path}/").status_code == 200


def test_a_post_with_a_trailing_slash_keeps_its_body(sct: Sct) -> None:
    reply = sct.http.post(f"{COMMANDS}/", json={"command": "true"})
    assert reply.status_code == 200
    job_id = reply.json()["job_id"]
    assert sct.http.get(f"{COMMANDS}/{job_id}/").json()["job_id"] == job_id
    sct.ended(job_id)


@pytest.mark.parametrize(("path", "status"), [(COMMANDS, 200), (f"{COMMANDS}/x", 404), ("/api/v1/x", 404)])
def test_head_is_get_without_the_body(sct: Sct, path: str, status: int) -> None:
    reply = sct.http.head(path)
    assert (reply.status_code, reply.content) == (status, b"")
    assert reply.headers["content-type"] == JSON
    assert int(reply.headers["content-length"]) > 0


def test_success_is_exactly_200_everywhere(sct: Sct) -> None:
    created = sct.post({"command": "sleep", "args": ["30"]})
    path = f"{COMMANDS}/{created.json()['job_id']}"
    replies = [created, sct.http.get(path), sct.http.get(COMMANDS), sct.http.delete(path), sct.http.get("/health")]
    assert [reply.status_code for reply in replies] == [200] * 5
    assert {reply.headers["content-type"] for reply in replies} == {JSON}


def test_times_have_six_digits_and_a_z(sct: Sct) -> None:
    job = sct.run("true")
    for name in ("created_at", "started_at", "completed_at"):
        assert STAMP.fullmatch(job[name]), job
    assert job["created_at"] <= job["started_at"] <= job["completed_at"]
    assert STAMP.fullmatch(sct.post({"command": "true"}).json()["created_at"])


def test_a_body_with_get_or_delete_is_ignored(sct: Sct) -> None:
    assert sct.http.request("GET", COMMANDS, content=b"{").status_code == 200
    assert sct.http.request("DELETE", f"{COMMANDS}/x", content=b"{").status_code == 404
