"""Real servicers of the test services: they echo, follow, fail and hang as the request says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import everything_pb2_grpc
import facade_pb2
import facade_pb2_grpc
import grpc
import library_pb2
import library_pb2_grpc
from google.api import httpbody_pb2
from google.protobuf import any_pb2, duration_pb2, empty_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc import aio
from grpc_status import rpc_status

from gateway import HandlerCapture


class Library(library_pb2_grpc.LibraryServiceServicer):
    """Steered by the name of the book that is asked for."""

    def __init__(self) -> None:
        self.metadata: list[dict[str, str | bytes]] = []
        self.peers: list[str] = []
        self.remaining: list[float | None] = []
        self.requests: list[Any] = []
        self.waiting = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.uploads = 0
        """That came whole."""

    async def GetBook(self, request: Any, context: Any) -> Any:
        # Read now: a context of grpc.aio is no more once its call is over.
        self.metadata.append(dict(context.invocation_metadata()))
        self.peers.append(context.peer())
        self.remaining.append(context.time_remaining())
        self.requests.append(request)
        match request.name:
            case "missing":
                await context.abort(grpc.StatusCode.NOT_FOUND, "no such book")
            case "coded":
                context.set_code(grpc.StatusCode.ALREADY_EXISTS)
                context.set_details("there already")
                return library_pb2.Book()
            case "crash":
                raise RuntimeError("the shelf collapsed, secret inside")
            case "busy":
                await abort(
                    context,
                    code_pb2.UNAVAILABLE,
                    "come back",
                    error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=1, nanos=1)),
                )
            case "odd":
                status = status_pb2.Status(code=code_pb2.FAILED_PRECONDITION, message="odd")
                status.details.append(any_pb2.Any(type_url="type.googleapis.com/nobody.Knows", value=b"\x00\xff"))
                await context.abort_with_status(rpc_status.to_status(status))
            case "login":
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
            case "shaped":
                await context.send_initial_metadata((("x-http-status", "203"), ("x-http-header-etag", '"1"')))
                context.set_trailing_metadata(
                    (
                        ("x-http-header-set-cookie", "a=1"),
                        ("x-http-header-set-cookie", "b=2"),
                        ("x-http-header-content-length", "1"),
                        ("grpc-internal", "no"),
                    )
                )
            case "marked":
                await context.send_initial_metadata((("x-shelf", "A"), ("x-seal-bin", b"\x00\xff"), ("x-other", "no")))
                context.set_trailing_metadata((("x-shelf", "B"), ("x-late", "yes"), ("grpc-x", "no")))
            case "marked and missing":
                marks = (("x-shelf", "C"), ("x-seal-bin", b"\x01"), ("x-seal-bin", b"\x02"), ("x-other", "no"))
                await context.abort(grpc.StatusCode.NOT_FOUND, "no such book", marks)
            case "hang":
                self.waiting.set()
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    self.cancelled.set()
                    raise
        return library_pb2.Book(name=request.name, title="T", word_count=2**60)

    async def ListBooks(self, request: Any, context: Any) -> Any:
        return library_pb2.ListBooksResponse(asked=request)

    async def ListTitles(self, request: Any, context: Any) -> Any:
        return library_pb2.ListTitlesResponse(titles=request.subjects)

    async def CreateBook(self, request: Any, context: Any) -> Any:
        book = library_pb2.Book()
        book.CopyFrom(request.book)
        book.name = f"shelves/{request.shelf}/books/1"
        return book

    async def UpdateBook(self, request: Any, context: Any) -> Any:
        return request

    async def DeleteBook(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    async def CheckOutBook(self, request: Any, context: Any) -> Any:
        return library_pb2.Book(name=request.name, title="checked out")

    async def WatchBooks(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.requests.append(request)
        start = int(request.last_event_id or 0)
        for number in range(start + 1, start + request.count + 1):
            if request.HasField("fail_after") and number > request.fail_after:
                break
            yield library_pb2.BookEvent(sequence=number, kind="added", book=library_pb2.Book(name=f"b{number}"))
        if request.HasField("fail_after"):
            await context.abort(grpc.StatusCode.DATA_LOSS, "the shelf burnt down")
        if request.hold:
            self.waiting.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise

    async def ReadBook(self, request: Any, context: Any) -> None:
        # Written by hand, as grpc.aio allows, instead of yielded.
        if request.name == "empty":
            return
        if request.name == "held":
            await context.write(httpbody_pb2.HttpBody(data=b"one"))
            self.waiting.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        if request.name in ("measured", "short", "long"):
            said = {"measured": 1000, "short": 2000, "long": 300}[request.name]
            await context.send_initial_metadata(
                (
                    ("x-http-content-length", str(said)),
                    ("x-http-header-etag", '"v1"'),
                    ("x-http-header-content-disposition", 'attachment; filename="b.bin"'),
                    ("x-shelf", "D"),
                )
            )
            for start in range(0, 1000, 100):
                await context.write(httpbody_pb2.HttpBody(data=bytes(n % 256 for n in range(start, start + 100))))
            return
        await context.write(httpbody_pb2.HttpBody(content_type="text/x-book", data=b"one\x00"))
        await context.write(httpbody_pb2.HttpBody(data=b"two\xff"))
        if request.name == "torn":
            await context.abort(grpc.StatusCode.DATA_LOSS, "a page is missing")

    async def ChatBooks(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        if dict(context.invocation_metadata()).get("authorization") == "Bearer banned":
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "never again", (("x-http-header-retry-after", "9"),))
        try:
            async for message in requests:
                if message.text == "bye":
                    return
                if message.text == "crash":
                    raise RuntimeError("the room collapsed, secret inside")
                if message.text == "fail":
                    await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too loud")
                yield library_pb2.ChatMessage(room=message.room, text=f"re: {message.text}")
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def WatchRoom(self, request: Any, context: Any) -> AsyncIterator[Any]:
        if request.last_event_id == "closed":
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "closed")
        for number in range(request.count):
            yield library_pb2.BookEvent(sequence=number, kind=request.last_event_id)
        if request.hold:
            self.waiting.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise

    async def ImportBooks(self, requests: Any, context: Any) -> Any:
        return library_pb2.ListTitlesResponse(
            titles=[f"{request.shelf}/{request.book.title}" async for request in requests]
        )

    async def EchoBooks(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            if request.shelf == "closed":
                await context.abort(grpc.StatusCode.PERMISSION_DENIED, "the shelf is closed")
            yield request.book

    async def UploadBook(self, requests: Any, context: Any) -> Any:
        report = library_pb2.BookReport()
        try:
            async for request in requests:
                self.waiting.set()
                report.name, report.whole = request.name, request.whole
                report.content_type = report.content_type or request.piece.content_type
                report.size += len(request.piece.data)
            if not report.whole:
                # To a servicer of grpc.aio a call that is cancelled looks at first as if its requests had ended.
                await asyncio.Event().wait()
        except (asyncio.CancelledError, aio.AbortError):
            self.cancelled.set()
            raise
        self.uploads += 1
        return report

    async def GetCover(self, request: Any, context: Any) -> Any:
        if request.name == "etag":
            await context.send_initial_metadata((("x-http-header-etag", 'W/"c1"'),))
        return httpbody_pb2.HttpBody(content_type="image/png", data=b"\x89PNG\x00")

    async def PutCover(self, request: Any, context: Any) -> Any:
        return library_pb2.PutCoverResponse(
            name=request.name, content_type=request.cover.content_type, size=len(request.cover.data)
        )


class Commands(facade_pb2_grpc.CommandServiceServicer):
    """A façade: what it answers is mostly what it was asked."""

    async def RunCommand(self, request: Any, context: Any) -> Any:
        if not request.command:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "command: must not be empty")
        command = facade_pb2.Command(job_id="j1", command=request.command, args=request.args, request=request)
        command.status, command.extra, command.secret = facade_pb2.STATUS_QUEUED, request.extra, "hush"
        command.created_at.seconds = 1
        command.env.update(request.env)
        return command

    async def GetCommand(self, request: Any, context: Any) -> Any:
        if request.job_id == "hang":
            await asyncio.Event().wait()
        if request.job_id != "j1":
            await job_not_found(context, request.job_id)
        command = facade_pb2.Command(job_id="j1", status=facade_pb2.STATUS_RUNNING, exit_code=0)
        command.stdout, command.duration_ms = b"caf\xc3\xa9 \xff", 2**60
        return command

    async def ListCommands(self, request: Any, context: Any) -> Any:
        return facade_pb2.ListCommandsResponse(asked=request)

    async def CancelCommand(self, request: Any, context: Any) -> Any:
        await job_not_found(context, request.job_id)

    async def GetLog(self, request: Any, context: Any) -> Any:
        return facade_pb2.Log(data=b"all of it")

    async def FollowLog(self, request: Any, context: Any) -> AsyncIterator[Any]:
        for chunk in (b"as ", b"it ", b"grows"):
            yield facade_pb2.Log(data=chunk)

    async def Home(self, request: Any, context: Any) -> Any:
        return facade_pb2.Redirect(location="/agents")


class Everything(everything_pb2_grpc.EverythingServiceServicer):
    """Echoes."""

    async def EchoQuery(self, request: Any, context: Any) -> Any:
        return request

    async def EchoBody(self, request: Any, context: Any) -> Any:
        return request

    async def EchoPath(self, request: Any, context: Any) -> Any:
        return request

    async def EchoVerb(self, request: Any, context: Any) -> Any:
        request.nested.inner.string_value = f"verb {request.string_value}"
        return request.nested


async def abort(context: Any, code: int, message: str, *details: Any) -> None:
    """Aborts a call with a rich status."""
    status = status_pb2.Status(code=code, message=message)
    for detail in details:
        status.details.add().Pack(detail)
    await context.abort_with_status(rpc_status.to_status(status))


async def job_not_found(context: Any, job_id: str) -> None:
    """Aborts a call as a domain error would be mapped."""
    info = error_details_pb2.ErrorInfo(reason="JOB_NOT_FOUND", domain="test", metadata={"job_id": job_id})
    await abort(context, code_pb2.NOT_FOUND, "raw text", info)


def register(library: Library, server: Any) -> None:
    """Adds all test servicers but the habits' to a server."""
    library_pb2_grpc.add_LibraryServiceServicer_to_server(library, server)
    facade_pb2_grpc.add_CommandServiceServicer_to_server(Commands(), server)
    everything_pb2_grpc.add_EverythingServiceServicer_to_server(Everything(), server)


def capture(library: Library) -> HandlerCapture:
    """The same, captured."""
    captured = HandlerCapture()
    register(library, captured)
    return captured
