"""The served document, operation by operation, against the server: who is let in, and which errors come."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from e2e_server import ServerProcess
from jsonschema import Draft202012Validator
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PATIENCE = 30
LOWER = {"viewer": "worker", "operator": "viewer", "admin": "operator", "worker": "operator"}
"""A role that is not enough, by the role that is needed."""
BAD_TOKEN = {"runner.dialects.testflinger": 403}
"""What a credential that is none is answered with, where an API documents it to be other than 401."""
TOKENS = "/v1/oauth2/token"
"""Where tokens are had: by name and secret, not by a token."""
OWN = {"/v1/secrets/{client_id}/{path}"}
"""What belongs to the client that the path names, whatever the role of who asks."""
SOON = {"x-request-timeout": "1"}
"""What waits is let go: with its head if it has one by then, else with the 504 that every operation documents."""


@dataclass(frozen=True)
class Reply:
    """The head of a reply, and its body where it is an error."""

    status: int
    media_type: str = ""
    body: bytes = b""


@dataclass(frozen=True)
class Operation:
    """One method of one path, as the document has it."""

    method: str
    path: str
    said: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_socket(self) -> bool:
        return "101" in self.said["responses"]

    @property
    def roles(self) -> list[str]:
        return sorted({role for each in self.said.get("security", ()) for names in each.values() for role in names})

    def ask(self, server: ServerProcess, headers: dict[str, str], body: bytes = b"", *, plainly: bool = False) -> Reply:
        """One request on a connection of its own; a stream is left once its head is there."""
        path = re.sub(r"\{[^}]*\}", "x", self.path)
        if self.is_socket and not plainly:
            try:
                with connect(server.http.replace("http", "ws") + path, additional_headers=headers, proxy=None):
                    return Reply(101)
            except InvalidStatus as refused:
                told = refused.response
                return Reply(told.status_code, told.headers.get("content-type", ""), told.body or b"")
        connection = http.client.HTTPConnection(urlsplit(server.http).netloc, timeout=PATIENCE)
        try:
            connection.putrequest(self.method.upper(), path)
            for name, value in {**SOON, **headers}.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            reply = connection.getresponse()
            return Reply(
                reply.status, reply.headers.get("content-type", ""), reply.read() if reply.status >= 400 else b""
            )
        finally:
            connection.close()

    def with_credential(self, server: ServerProcess, credential: str = "") -> Reply:
        body = {} if self.is_socket else {"content-type": "application/json", "content-length": "2"}
        return self.ask(server, {**body, **({"authorization": credential} if credential else {})}, b"{}")


def serve(directory: Path, **security: Any) -> Iterator[ServerProcess]:
    server = ServerProcess(directory)
    keys = [{"key": f"{role}-key", "name": role, "role": role} for role in ("viewer", "operator", "admin", "worker")]
    server.settings["security"] = {"api_keys": keys, **security}
    # What is asked for must never run, and nobody is to be held up for asking too often.
    server.settings["executor"]["local_runner"] = False
    server.settings["rate_limits"] = {"registration": 0, "status": 0, "submission": 0, "bulk": 0}
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    yield from serve(tmp_path_factory.mktemp("open"))


@pytest.fixture(scope="module")
def closed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    yield from serve(tmp_path_factory.mktemp("closed"), require_auth=True)


@pytest.fixture(scope="module")
def operations(open_server: ServerProcess) -> list[Operation]:
    connection = http.client.HTTPConnection(urlsplit(open_server.http).netloc, timeout=PATIENCE)
    connection.request("GET", "/openapi.json")
    paths = json.loads(connection.getresponse().read())["paths"]
    connection.close()
    return [Operation(method, path, said) for path, item in paths.items() for method, said in item.items()]


def test_who_is_let_in_is_who_the_document_says(
    operations: list[Operation], open_server: ServerProcess, closed_server: ServerProcess
) -> None:
    wrong = []
    for one in operations:
        security = one.said.get("security")
        api = one.said["tags"][0].rpartition(".v1.")[0]
        here, closed = one.with_credential(open_server), one.with_credential(closed_server)
        nonsense = one.with_credential(closed_server, "Bearer no")
        refused = 401 if one.path == TOKENS else BAD_TOKEN.get(api, 401)
        found = [
            ("asks nothing here", here.status != 401, (security is None or {} in security)),
            ("asks nothing anywhere", closed.status != 401, security is None),
            ("refuses nonsense", nonsense.status == refused, security is not None),
        ]
        for role in one.roles:
            low = one.with_credential(closed_server, f"Bearer {LOWER[role]}-key")
            enough = one.with_credential(closed_server, f"Bearer {role}-key")
            found.append((f"refuses less than {role}", low.status == 403, True))
            found.append((f"lets {role} in", enough.status not in (401, 403), one.path not in OWN))
        wrong += [f"{one.name}: {what}: {holds}" for what, holds, wanted in found if holds is not wanted]
    assert not wrong, "\n".join(wrong)


# What the gateway and the options of an RPC refuse by themselves, each with a request that has it refused.
KEY = {"authorization": "Bearer admin-key"}
REFUSED: dict[str, dict[str, str]] = {
    "no time": {"grpc-timeout": "soon"},
    "too late": {"grpc-timeout": "0S"},
    "no framing": {"accept": "*/*;q=0"},
    "beyond the end": {"range": "bytes=999999999-"},
    "too large": {"content-length": "999999999999"},
    "too large a form": {"content-length": "999999999999", "content-type": "multipart/form-data; boundary=x"},
    "compressed": {"content-encoding": "br", "content-length": "1"},
    "another type": {"content-type": "image/png", "content-length": "1"},
}
SERVICERS = frozenset({404, 409, 410, 422, 503})
"""What servicers say of what a request names or holds: the document's ``default``."""
ELSEWHERE = {
    **dict.fromkeys(
        (
            "get /api/runners/{runner_id}/health 429",
            "get /api/runners/{runner_id}/status 429",
            "post /api/runners/bulk 429",
            "post /api/runners/register 429",
            "post /api/runners/{runner_id}/jobs 429",
        ),
        "test_rustci_guard.py: over the limit",
    ),
    **dict.fromkeys(
        (
            "get / 416",
            "get /agents/{name} 416",
            "get /v1/oauth2/token 416",
            "get /v1/queues/{queue}/agents 416",
        ),
        "test_downloads.py: a page or list of that name, and less of it than was asked for",
    ),
    "get /api/v2/artifacts/{artifact_id}/content 416": "test_files.py: the same of an artifact",
    "post /webhook/status 500": "test_kubeagents_contract.py: the store fails",
}
"""What needs more than a request of a certain shape, and the tests that have it come."""


def test_documented_errors_come_and_what_comes_is_documented(
    operations: list[Operation], open_server: ServerProcess, closed_server: ServerProcess
) -> None:
    wrong: list[str] = []
    seen: set[str] = set()
    owed: set[str] = set()
    for one in operations:
        documented = one.said["responses"]
        owed |= {f"{one.name} {status}" for status in documented if "400" <= status != "default"}
        replies = {"nothing shown": one.ask(closed_server, {}), "no WebSocket": one.ask(open_server, KEY, plainly=True)}
        for role in one.roles:
            replies["too low"] = one.ask(closed_server, {"authorization": f"Bearer {LOWER[role]}-key"})
        for name, headers in REFUSED.items():
            if "requestBody" in one.said or "content-length" not in headers:
                replies[name] = one.ask(open_server, KEY | headers, b"x" * (headers.get("content-length") == "1"))
        for name, reply in replies.items():
            if reply.status >= 400:
                seen.add(f"{one.name} {reply.status}")
                wrong += [f"{one.name}, {name}: {fault}" for fault in faults(documented, reply)]
    wrong += [f"{each}: documented, never seen" for each in sorted(owed - seen - set(ELSEWHERE))]
    assert not wrong, "\n".join(wrong)
    assert set(ELSEWHERE) <= owed - seen


def faults(documented: dict[str, Any], reply: Reply) -> Iterator[str]:
    """How an error differs from what is documented."""
    told = documented.get(str(reply.status), documented["default"] if reply.status in SERVICERS else None)
    if told is None:
        yield f"{reply.status} is not documented: {reply.body[:80]!r}"
    elif reply.body or "content" in told:
        content = told["content"].get(reply.media_type)
        if content is None:
            yield f"{reply.status} in {reply.media_type!r}"
        elif "json" in reply.media_type:
            for error in Draft202012Validator(content["schema"]).iter_errors(json.loads(reply.body)):
                yield f"{reply.status}: {error.message}"
