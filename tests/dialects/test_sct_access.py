"""contract/sct.md §2: bearer keys of the file and of the environment, and the four ways to be refused."""

from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest
from sct_server import COMMANDS, CONTRACT, JSON, KEY, Sct, SctServer

REFUSALS = [pytest.param(each, id=f"s2: {each['when']}") for each in CONTRACT["unauthorized"]]
CALLS = [("GET", COMMANDS), ("POST", COMMANDS), ("GET", f"{COMMANDS}/x"), ("DELETE", f"{COMMANDS}/x")]


def raw(server: SctServer, method: str, path: str, header: str | None) -> httpx.Response:
    """The reply to a request whose header is sent as it stands, blanks and all."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Content-Length: 0", "Connection: close"]
    if header is not None:
        lines.append(f"Authorization: {header}")
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    headers = [tuple(field.split(": ", 1)) for field in fields]
    return httpx.Response(int(status.split()[1]), headers=headers, content=body)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", REFUSALS)
@pytest.mark.parametrize(("method", "path"), CALLS)
def test_a_bad_credential_is_401_and_says_why(server: SctServer, case: dict[str, Any], method: str, path: str) -> None:
    reply = raw(server, method, path, case.get("header"))
    assert reply.status_code == 401
    assert reply.headers["content-type"] == JSON
    assert reply.json() == {"error": case["error"], "message": case["message"]}


def test_the_credential_is_looked_at_before_the_body(server: SctServer) -> None:
    stranger = server.client(key=None)
    assert stranger.http.post(COMMANDS, content=b"{").status_code == 401
    assert stranger.http.post(COMMANDS, content=b"x" * (1 << 21)).status_code == 401
    assert stranger.http.delete(f"{COMMANDS}/x").status_code == 401


@pytest.mark.parametrize("key", [KEY, "sct-runner-key-2", "key-of-the-environment"])
def test_keys_of_the_file_and_of_the_environment_are_valid_together(server: SctServer, key: str) -> None:
    assert server.client(key).http.get(COMMANDS).status_code == 200


def test_jobs_are_the_services_not_the_keys(server: SctServer, sct: Sct) -> None:
    job_id = sct.submit("true")
    assert server.client("key-of-the-environment").ended(job_id)["status"] == "completed"


def test_unknown_paths_and_methods_need_no_key(server: SctServer) -> None:
    stranger = server.client(key=None)
    assert stranger.http.get("/api/v1/nothing").status_code == 404
    assert stranger.http.put(COMMANDS).status_code == 405


def test_no_key_is_kept_in_the_data_directory(server: SctServer, sct: Sct) -> None:
    sct.run("true")
    for path in server.data.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            for key in (KEY, "key-of-the-environment"):
                assert key.encode() not in data, path
