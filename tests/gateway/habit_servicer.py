"""The servicer of ``habits.proto``: it echoes, counts and fails."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import habits_pb2
import habits_pb2_grpc
from google.api import httpbody_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status


class Habits(habits_pb2_grpc.HabitServiceServicer):
    """Steered by its requests."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.written = 0
        self.flood_ended = asyncio.Event()

    async def SayVersion(self, request: Any, context: Any) -> Any:
        return habits_pb2.Text(text="Version 1 <ü>")

    async def SayPosition(self, request: Any, context: Any) -> Any:
        return habits_pb2.Position(position=3, queue="q")

    async def PostJson(self, request: Any, context: Any) -> Any:
        return request

    async def PutJson(self, request: Any, context: Any) -> Any:
        return request

    async def PostMessage(self, request: Any, context: Any) -> Any:
        return request

    async def PostBytes(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        return request

    async def PostText(self, request: Any, context: Any) -> Any:
        return request

    async def PostFile(self, requests: Any, context: Any) -> Any:
        report, digest = habits_pb2.FileReport(), hashlib.sha256()
        async for request in requests:
            self.requests.append(request)
            data = request.piece.data
            digest.update(data)
            report.name, report.filename, report.number = request.name, request.filename, request.number
            report.content_type = request.piece.content_type
            report.size, report.pieces = report.size + len(data), report.pieces + 1
            report.largest = max(report.largest, len(data))
        report.sha256 = digest.hexdigest()
        return report

    async def PostLarge(self, requests: Any, context: Any) -> Any:
        report = habits_pb2.FileReport()
        async for request in requests:
            report.size, report.pieces = report.size + len(request.piece.data), report.pieces + 1
            report.largest = max(report.largest, len(request.piece.data))
        return report

    async def GetLarge(self, request: Any, context: Any) -> AsyncIterator[Any]:
        await context.send_initial_metadata((("x-http-content-length", str(request.size)),))
        piece = httpbody_pb2.HttpBody(data=bytes(65_536))
        for _ in range(request.size // 65_536):
            yield piece
        yield httpbody_pb2.HttpBody(data=bytes(request.size % 65_536))

    async def PutFile(self, request: Any, context: Any) -> Any:
        return habits_pb2.FileReport(
            name=request.name,
            filename=request.filename,
            number=request.number,
            content_type=request.piece.content_type,
            size=len(request.piece.data),
            sha256=hashlib.sha256(request.piece.data).hexdigest(),
        )

    async def Fail(self, request: Any, context: Any) -> Any:
        metadata = {"what": "a b", "detail": json.dumps({"json": {"job_queue": ["Missing data.", 2**53 + 1]}})}
        info = error_details_pb2.ErrorInfo(reason=request.reason, domain="test", metadata=metadata)
        status = status_pb2.Status(code=code_pb2.NOT_FOUND, message=f"no {request.reason}")
        status.details.add().Pack(info)
        await context.abort_with_status(rpc_status.to_status(status))

    async def Shape(self, request: Any, context: Any) -> Any:
        given = dict(context.invocation_metadata())
        if given.get("x-api-key") == "empty":
            return httpbody_pb2.HttpBody()
        await context.send_initial_metadata(
            (
                ("x-http-status", "302"),
                ("x-http-header-location", "/agents"),
                ("x-http-header-set-cookie", "a=1; Path=/"),
                ("x-http-header-set-cookie", "b=2"),
                ("x-http-header-content-type", "text/x-own"),
            )
        )
        return httpbody_pb2.HttpBody(content_type="text/plain", data=b"over there")

    async def Look(self, request: Any, context: Any) -> Any:
        request.authorization = str(dict(context.invocation_metadata()).get("authorization", ""))
        return request

    async def Follow(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield habits_pb2.Event(id="1", log=habits_pb2.Text(text="one"))
        yield habits_pb2.Event(id="2", end=habits_pb2.Position(queue="q"))
        yield habits_pb2.Event(id="3")

    async def Talk(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        authorization = str(dict(context.invocation_metadata()).get("authorization", ""))
        if authorization == "Bearer nobody":
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such room")
        yield habits_pb2.Frame(text=f"welcome {authorization}")
        async for frame in requests:
            if frame.bad:
                yield habits_pb2.Frame(room=frame.room, text="invalid", bad=frame.bad)
            else:
                yield habits_pb2.Frame(room=frame.room, text=f"re: {frame.text}")

    async def Meet(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        async for frame in requests:
            yield habits_pb2.Frame(room=frame.room, text=f"{frame.room}: {frame.text}")

    async def Echo(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            yield request

    async def Flood(self, request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            while True:
                self.written += 1
                yield habits_pb2.Text(text="x" * 100_000)
        finally:
            self.flood_ended.set()
