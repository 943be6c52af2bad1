"""The hook between routing and decoding, and what it adds to every answer."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from typing import Any

import choices_pb2_grpc
import pytest
from choice_servicer import Choices
from gateway_servicers import Library, register
from google.rpc import error_details_pb2, status_pb2
from harness import in_memory, made, served
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from gateway import Admission, Failure, GatewayOptions


class Hook:
    """Lets everything through but what ``X-Deny`` names, and counts on every answer."""

    def __init__(self) -> None:
        self.seen: list[Admission] = []

    async def __call__(self, admission: Admission) -> None:
        self.seen.append(admission)
        admission.reply_headers.append(("x-ratelimit-remaining", str(9 - len(self.seen))))
        denied = admission.request.header("x-deny")
        if denied:
            status = status_pb2.Status(code=int(denied), message="not now")
            status.details.add().Pack(error_details_pb2.ErrorInfo(reason="DENIED", domain="test"))
            raise Failure.from_status(status)


@pytest.fixture
def hook() -> Hook:
    return Hook()


@pytest.fixture
async def gateway(library: Library, hook: Hook, backend: str) -> AsyncIterator[Any]:
    options = GatewayOptions(admission=hook)
    async with made(backend, functools.partial(register, library), options=options) as gateway:
        yield gateway


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        pytest.param("GET", "/v1/books/x", b"", {}, 200, id="success"),
        pytest.param("GET", "/v1/books/missing", b"", {}, 404, id="error of the servicer"),
        pytest.param("GET", "/v1/books/x?nope=1", b"", {}, 400, id="refused while binding"),
        pytest.param("POST", "/v1/shelves/s/books", b"{", {}, 400, id="refused while decoding"),
        pytest.param("POST", "/v1/shelves/s/books", b"{}", {"content-type": "text/plain"}, 415, id="media type"),
        pytest.param("POST", "/v1/shelves/s/books", b" " * 2_000_000, {}, 413, id="too large"),
        pytest.param("GET", "/v1/books/crash", b"", {}, 500, id="crash"),
        pytest.param("GET", "/v1/books:watch?count=1", b"", {}, 200, id="stream"),
        pytest.param("GET", "/v1/books/x", b"", {"x-deny": "8"}, 429, id="refused by the hook"),
        pytest.param("GET", "/v1/books/x", b"", {"grpc-timeout": "soon"}, 400, id="deadline"),
    ],
)
async def test_its_headers_are_on_every_answer(
    gateway: Any, method: str, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    async with in_memory(gateway) as client:
        reply = await client.request(method, path, content=body, headers=headers)
    assert (reply.status_code, reply.headers.get_list("x-ratelimit-remaining")) == (status, ["8"])


async def test_it_sees_the_route_and_its_options(gateway: Any, hook: Hook) -> None:
    async with in_memory(gateway) as client:
        await client.get("/v1/books/a%2Fb?page=1", headers={"authorization": "Bearer k"})
    (seen,) = hook.seen
    assert (seen.rpc, seen.route) == ("/test.library.v1.LibraryService/GetBook", "GET /v1/books/{name}")
    assert (seen.method.name, seen.variables) == ("GetBook", {"name": "a/b"})
    assert (seen.peer, seen.client) == ("ipv4:127.0.0.1:5555", "127.0.0.1")
    assert ("authorization", "Bearer k") in seen.metadata
    assert seen.request.raw_query == "page=1"


@pytest.mark.parametrize(
    ("method", "path", "why"),
    [
        pytest.param("GET", "/api/v9/commands/j1", "the path as documented", id="plain"),
        pytest.param("HEAD", "/api/v9/commands/j1", "HEAD is answered by the GET route", id="HEAD"),
        pytest.param("GET", "/api/v9/commands/j1/", "a slash more is the same route", id="slash"),
        pytest.param("GET", "/api/v9/c%6Fmmands/%6A1", "escaped letters are the letters", id="escapes"),
        pytest.param("GET", "/api/v9/commands/j1?any=thing", "a query is no path", id="query"),
    ],
)
async def test_no_spelling_of_a_path_gets_round_it(gateway: Any, hook: Hook, method: str, path: str, why: str) -> None:
    async with in_memory(gateway) as client:
        assert (await client.request(method, path)).headers["x-ratelimit-remaining"] == "8", why
    (seen,) = hook.seen
    assert (seen.rpc, seen.variables) == ("/test.facade.v1.CommandService/GetCommand", {"job_id": "j1"}), why


async def test_what_has_no_route_is_not_asked_about(gateway: Any, hook: Hook) -> None:
    async with in_memory(gateway) as client:
        statuses = [
            (await client.get("/v1/nothing")).status_code,
            (await client.post("/v1/books/x")).status_code,
            (await client.options("/v1/books/x")).status_code,
        ]
    assert (statuses, hook.seen) == ([404, 405, 204], [])


async def test_a_refusal_reads_no_body_and_reaches_no_servicer(gateway: Any, library: Library) -> None:
    received = []

    async def receive() -> dict[str, Any]:
        received.append(1)
        return {"type": "http.request", "body": b"{}", "more_body": True}

    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"content-length", b"9"), (b"x-deny", b"16")]
    scope = {"type": "http", "method": "POST", "path": "/v1/shelves/s/books", "headers": headers, "scheme": "http"}
    await gateway(scope, receive, send)
    assert (sent[0]["status"], received, library.requests) == (401, [], [])


async def test_what_it_adds_to_the_metadata_reaches_the_servicer(library: Library, backend: str) -> None:
    async def name_the_caller(admission: Admission) -> None:
        admission.metadata.append(type(admission.metadata[0])("x-caller", "me"))

    options = GatewayOptions(admission=name_the_caller)
    serving = made(backend, functools.partial(register, library), options=options)
    async with serving as gateway, in_memory(gateway) as client:
        await client.get("/v1/books/x")
    assert library.metadata[0]["x-caller"] == "me"


async def test_websockets_are_admitted_too(gateway: Any, hook: Hook) -> None:
    async with served(gateway) as port:
        url = f"ws://127.0.0.1:{port}/v1/rooms/lobby/events?count=1"
        async with connect(url) as socket:
            assert socket.response is not None
            assert socket.response.headers["x-ratelimit-remaining"] == "8"
        with pytest.raises(InvalidStatus) as error:
            async with connect(url, additional_headers={"x-deny": "7"}):
                pass
    assert error.value.response.status_code == 403
    assert error.value.response.headers["x-ratelimit-remaining"] == "7"
    assert hook.seen[0].variables == {"last_event_id": "lobby"}


RPC = "POST /test.choices.v1.ChoiceService/Repeat"


@pytest.mark.parametrize(
    ("ask", "body", "status", "variables", "why"),
    [
        ("POST /c/repeat/a/2", b"{}", 200, {"said.text": "a", "times": "2"}, "its path says what it is about"),
        (RPC, b'{"said": {"text": "a"}, "times": 2}', 200, {"said.text": "a", "times": "2"}, "here its body does"),
        (RPC, b"", 200, {"said.text": "", "times": "0"}, "or it says nothing"),
        (RPC, b"{", 400, {"said.text": "", "times": "0"}, "what can't be read is asked about all the same"),
        (RPC, b" " * 2_000_000, 413, {"said.text": "", "times": "0"}, "nor does what is too large get round it"),
        ("POST /test.choices.v1.ChoiceService/Reply", b"{}", 200, {}, "who has no limit needs no reading"),
    ],
)
async def test_the_rpc_route_is_about_what_the_path_is_about(
    hook: Hook, backend: str, ask: str, body: bytes, status: int, variables: dict[str, str], why: str
) -> None:
    def register_choices(server: Any) -> None:
        choices_pb2_grpc.add_ChoiceServiceServicer_to_server(Choices(), server)

    options = GatewayOptions(admission=hook, rpc_routes=True)
    method, _, url = ask.partition(" ")
    async with made(backend, register_choices, options=options) as gateway, in_memory(gateway) as client:
        reply = await client.request(method, url, content=body)
    assert (reply.status_code, reply.headers["x-ratelimit-remaining"]) == (status, "8"), why
    assert [seen.variables for seen in hook.seen] == [variables], why
