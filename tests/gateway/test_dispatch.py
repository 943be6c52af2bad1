"""In-process dispatch: the server's own interceptors run, in order, for every call, bad requests included."""

from __future__ import annotations

import functools
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from gateway_servicers import Library, capture, register
from grpc import aio
from harness import in_memory, made, served
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from gateway import Gateway, GatewayOptions, HandlerCapture


class Recorder(aio.ServerInterceptor):
    """Notes when it is asked, and wraps the handler to note how the call went."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name, self.notes = name, notes

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        self.notes.append(f"{self.name} {details.method.rpartition('/')[2]}")
        handler = await continuation(details)
        if handler is None or handler.response_streaming:
            return handler

        async def wrapped(request: Any, context: Any) -> Any:
            try:
                return await handler.unary_unary(request, context)
            finally:
                self.notes.append(f"{self.name} saw {context.code().name}")

        return grpc.unary_unary_rpc_method_handler(wrapped)


class Door(aio.ServerInterceptor):
    """Lets in who says the word."""

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        if dict(details.invocation_metadata).get("authorization") in ("Bearer sesame", "Bearer banned"):
            return await continuation(details)

        async def refuse(request: Any, context: Any) -> Any:
            context.set_trailing_metadata((("x-http-header-x-ratelimit-remaining", "0"),))
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "say the word")

        handler = await continuation(details)
        if not handler.response_streaming:
            return grpc.unary_unary_rpc_method_handler(refuse)

        async def refuse_stream(request: Any, context: Any) -> AsyncIterator[Any]:
            await refuse(request, context)
            yield

        kinds = {False: grpc.unary_stream_rpc_method_handler, True: grpc.stream_stream_rpc_method_handler}
        return kinds[handler.request_streaming](refuse_stream)


async def test_interceptors_run_in_order(library: Library) -> None:
    notes: list[str] = []
    chain = [Recorder("outer", notes), Recorder("inner", notes)]
    async with in_memory(Gateway(handlers=capture(library), interceptors=chain)) as client:
        assert (await client.get("/v1/books/x")).status_code == 200
        assert (await client.get("/v1/books/missing")).status_code == 404
    assert notes == [
        "outer GetBook",
        "inner GetBook",
        "inner saw OK",
        "outer saw OK",
        "outer GetBook",
        "inner GetBook",
        "inner saw NOT_FOUND",
        "outer saw NOT_FOUND",
    ]


@pytest.mark.parametrize(
    ("url", "body"),
    [("/v1/books/x:checkout", b"{"), ("/v1/books/x:checkout", b" " * 2_000_000), ("/v1/books/x:checkout", b"{}")],
)
async def test_a_bad_request_without_credentials_is_401_first(library: Library, url: str, body: bytes) -> None:
    notes: list[str] = []
    chain = [Recorder("audit", notes), Door()]
    async with in_memory(Gateway(handlers=capture(library), interceptors=chain)) as client:
        refused = await client.post(url, content=body)
        assert refused.status_code == 401
        assert refused.headers["x-ratelimit-remaining"] == "0", "errors carry reply metadata too"
        known = await client.post(url, content=body, headers={"authorization": "Bearer sesame"})
    assert known.status_code == {1: 400, 2: 200}.get(len(body), 413)
    assert notes[0] == "audit CheckOutBook"


async def test_streams_pass_the_door_too(over: Any) -> None:
    async with over(interceptors=[Door()]) as gateway, in_memory(gateway) as client:
        assert (await client.get("/v1/books:watch?count=1")).status_code == 401
        reply = await client.get("/v1/books:watch?count=1", headers={"authorization": "Bearer sesame"})
        assert reply.status_code == 200


PATIENT = GatewayOptions(first_message_seconds=20)


@pytest.mark.parametrize(
    ("said", "status", "why"), [("", 401, "an interceptor refuses"), ("Bearer banned", 403, "the servicer, unasked")]
)
async def test_a_talk_is_refused_before_the_upgrade(backend: str, said: str, status: int, why: str) -> None:
    told = []
    for each in dict.fromkeys(("in process", backend)):
        register_it = functools.partial(register, Library())
        async with made(each, register_it, interceptors=[Door()], options=PATIENT) as gateway, served(gateway) as port:
            url, headers = f"ws://127.0.0.1:{port}/v1/rooms/lobby/chat", {"authorization": said, "x-request-id": "r1"}
            with pytest.raises(InvalidStatus) as refused:
                async with connect(url, additional_headers=headers):
                    pass
            reply = refused.value.response
            del reply.headers["date"]
            told.append((reply.status_code, list(reply.headers.raw_items()), reply.body))
            async with connect(url, additional_headers={"authorization": "Bearer sesame"}) as talk:
                await talk.send('{"text": "hi"}')
                assert json.loads(await talk.recv())["text"] == "re: hi"
    assert [one[0] for one in told] == [status] * len(told), why
    assert told[0] == told[-1], "the same bytes behind every backend"


async def test_behind_a_server_that_does_not_tell_a_talk_begins_after_a_moment(backend: str) -> None:
    register_it, options = functools.partial(register, Library()), GatewayOptions(first_message_seconds=0.05)
    async with (
        made(backend, register_it, tells=False, options=options) as gateway,
        served(gateway) as port,
        connect(f"ws://127.0.0.1:{port}/v1/rooms/lobby/chat") as talk,
    ):
        await talk.send('{"text": "hi"}')
        assert json.loads(await talk.recv())["text"] == "re: hi"


async def test_a_crashing_interceptor_is_a_500(over: Any) -> None:
    class Broken(aio.ServerInterceptor):
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            raise RuntimeError("broken")

    async with over(interceptors=[Broken()]) as gateway, in_memory(gateway) as client:
        assert (await client.get("/v1/books/x")).status_code == 500


async def test_contexts_run_their_callbacks_once_done(library: Library) -> None:
    done: list[str] = []

    class Watch(aio.ServerInterceptor):
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            handler = await continuation(details)

            async def wrapped(request: Any, context: Any) -> Any:
                context.add_done_callback(lambda each: done.append(each.code().name))
                assert context.time_remaining() is None
                assert context.auth_context() == {}
                return await handler.unary_unary(request, context)

            return grpc.unary_unary_rpc_method_handler(wrapped)

    async with in_memory(Gateway(handlers=capture(library), interceptors=[Watch()])) as client:
        await client.get("/v1/books/x")
        await client.get("/v1/books/missing")
    assert done == ["OK", "NOT_FOUND"]


def test_a_gateway_needs_something_to_serve() -> None:
    with pytest.raises(TypeError):
        Gateway()
    assert HandlerCapture().services() == []
